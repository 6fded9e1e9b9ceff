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
	PASS_LATER_FRAGMENT, /* has no port; without its first fragment it leads nowhere */
	/* To us. */
	STEERED,
	/* To nobody. */
	DROP_NO_SOCKET,      /* ours, but no socket serves its queue */
	DROP_FRAGMENT,       /* a first fragment to one of our ports */
	DROP_EXTENSION,      /* ours, behind IPv6 extension headers */
	VERDICTS,
};

/* An address (IPv4 as ::ffff:a.b.c.d) and port, both in network byte order. */
struct listener {
	unsigned char address[16];
	unsigned short port;
	unsigned short zero;
};

#endif
