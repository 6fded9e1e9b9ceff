/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the program and its loader share: the verdicts, in the order of `verdict.rs`. */
#ifndef STEER_H
#define STEER_H

enum verdict {
	/* To the kernel. */
	PASS_NOT_IP,         /* neither IPv4 nor IPv6: ARP, two VLAN tags, ... */
	PASS_NOT_TCP,        /* ICMP, UDP, ... */
	PASS_NOT_OURS,       /* TCP to another address or port: ssh, the admin API */
	PASS_SHORT,          /* ends inside its headers: the kernel drops it */
	PASS_FRAGMENT,       /* of TCP to another address */
	/* To us. */
	STEERED,
	STEERED_ICMP,        /* a router's report that a segment of ours was too big */
	/* To nobody. */
	DROP_NO_SOCKET,      /* ours, but no socket serves its queue */
	DROP_FRAGMENT,       /* of TCP to one of our addresses, first or later */
	DROP_EXTENSION,      /* ours, behind IPv6 extension headers */
	VERDICTS,
};

/* In network byte order; IPv4 as ::ffff:a.b.c.d. */
struct address {
	unsigned char bytes[16];
};

/* An address and port in network byte order. */
struct listener {
	struct address address;
	unsigned short port;
	unsigned short zero;
};

#endif
