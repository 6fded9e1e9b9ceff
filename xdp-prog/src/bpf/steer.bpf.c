// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Steers TCP to our addresses and ports into the AF_XDP socket of its queue and leaves everything
 * else to the kernel. The first thing a received frame meets; next is `port.rs`.
 *
 * Nothing that is ours ever reaches the kernel's TCP, which would answer it with a RST: without a
 * socket it is dropped, and so is every fragment of TCP to one of our addresses, because a later one
 * has no port to tell whose it is. Nothing else is ever dropped.
 *
 * Of ICMP, only "fragmentation needed" and "packet too big" about a segment of ours is for us: the
 * kernel knows no such connection. If no socket is there the kernel may have it.
 *
 * Understands Ethernet, one 802.1Q tag, IPv4 with options, IPv6 with up to four extension headers.
 */
#include <linux/bpf.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"

#define QUEUES_MAX 64
#define LISTENERS_MAX 256
#define EXTENSIONS_MAX 4

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LISTENERS_MAX);
	__type(key, struct listener);
	__type(value, __u8);
} listeners SEC(".maps");

/* The addresses of `listeners`, for fragments. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LISTENERS_MAX);
	__type(key, struct address);
	__type(value, __u8);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

struct vlan_header {
	__be16 tag;
	__be16 protocol;
};

/* RFC 8200 sections 4.3, 4.4, 4.6: all begin alike. */
struct extension {
	__u8 next;
	__u8 length; /* in 8 bytes, not counting the first 8 */
};

struct fragment {
	__u8 next;
	__u8 reserved;
	__be16 offset; /* 13 bits of offset, 2 reserved, more fragments */
	__be32 id;
};

static __always_inline int count(__u32 verdict, int action)
{
	__u64 *counter = bpf_map_lookup_elem(&verdicts, &verdict);

	if (counter)
		*counter += 1;
	return action;
}

/* As ::ffff:a.b.c.d. */
static __always_inline void map_ipv4(struct address *address, __be32 ipv4)
{
	address->bytes[10] = 0xff;
	address->bytes[11] = 0xff;
	__builtin_memcpy(&address->bytes[12], &ipv4, 4);
}

/* Looks at the port in the first bytes of a TCP header. */
static __always_inline int is_ours(struct listener *listener, void *header, void *end, int *ours)
{
	struct tcphdr *tcp = header;

	/* Source and destination port; the engine looks at the rest. */
	if (header + 4 > end)
		return 0;
	listener->port = tcp->dest;
	*ours = bpf_map_lookup_elem(&listeners, listener) != 0;
	return 1;
}

static __always_inline int steer(struct xdp_md *context, struct listener *listener, void *header,
				 void *end)
{
	int ours;
	int action;

	if (!is_ours(listener, header, end, &ours))
		return count(PASS_SHORT, XDP_PASS);
	if (!ours)
		return count(PASS_NOT_OURS, XDP_PASS);
	action = bpf_redirect_map(&sockets, context->rx_queue_index, XDP_DROP);
	return count(action == XDP_REDIRECT ? STEERED : DROP_NO_SOCKET, action);
}

/* A report of a packet too big, for us if that was TCP from one of our listeners. Whatever else it is,
 * or if it is cut, it is just ICMP. */
static __always_inline int steer_report(struct xdp_md *context, struct listener *listener,
					void *header, void *end)
{
	struct tcphdr *tcp = header;
	int action;

	/* The quoted segment's source port and destination port. */
	if (header + 4 > end)
		return count(PASS_NOT_TCP, XDP_PASS);
	listener->port = tcp->source;
	if (!bpf_map_lookup_elem(&listeners, listener))
		return count(PASS_NOT_TCP, XDP_PASS);
	action = bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);
	return count(action == XDP_REDIRECT ? STEERED_ICMP : PASS_NOT_TCP, action);
}

/* RFC 792 and RFC 1191 section 4: destination unreachable, fragmentation needed and DF set. */
static __always_inline int steer_icmp(struct xdp_md *context, void *message, void *end)
{
	struct icmphdr *icmp = message;
	struct iphdr *quoted = message + sizeof(*icmp);
	struct listener listener = {};

	if ((void *)(quoted + 1) > end || icmp->type != ICMP_DEST_UNREACH ||
	    icmp->code != ICMP_FRAG_NEEDED)
		return count(PASS_NOT_TCP, XDP_PASS);
	/* A later fragment of what we sent, which we do not: no port. */
	if (quoted->ihl < 5 || quoted->protocol != IPPROTO_TCP ||
	    quoted->frag_off & bpf_htons(0x1fff))
		return count(PASS_NOT_TCP, XDP_PASS);
	map_ipv4(&listener.address, quoted->saddr);
	return steer_report(context, &listener, (void *)quoted + quoted->ihl * 4, end);
}

/* RFC 4443 section 3.2. We send no extension headers, so none are quoted. */
static __always_inline int steer_icmpv6(struct xdp_md *context, void *message, void *end)
{
	struct icmp6hdr *icmp = message;
	struct ipv6hdr *quoted = message + sizeof(*icmp);
	struct listener listener = {};

	if ((void *)(quoted + 1) > end || icmp->icmp6_type != ICMPV6_PKT_TOOBIG ||
	    quoted->nexthdr != IPPROTO_TCP)
		return count(PASS_NOT_TCP, XDP_PASS);
	__builtin_memcpy(&listener.address, &quoted->saddr, 16);
	return steer_report(context, &listener, quoted + 1, end);
}

/* The engine does not read extension headers, and the kernel must not get what is ours. */
static __always_inline int drop_extension(struct listener *listener, void *header, void *end)
{
	int ours;

	if (!is_ours(listener, header, end, &ours))
		return count(PASS_SHORT, XDP_PASS);
	return ours ? count(DROP_EXTENSION, XDP_DROP) : count(PASS_NOT_OURS, XDP_PASS);
}

/* We do not reassemble, and what the kernel put together it would answer with RST. */
static __always_inline int drop_fragment(const struct listener *listener)
{
	if (bpf_map_lookup_elem(&addresses, &listener->address))
		return count(DROP_FRAGMENT, XDP_DROP);
	return count(PASS_FRAGMENT, XDP_PASS);
}

static __always_inline int steer_ipv4(struct xdp_md *context, void *packet, void *end)
{
	struct iphdr *ip = packet;
	struct listener listener = {};
	void *header;

	if (packet + sizeof(*ip) > end || ip->ihl < 5)
		return count(PASS_SHORT, XDP_PASS);
	/* Not a fragment: nobody has to cut a report. */
	if (ip->protocol == IPPROTO_ICMP && !(ip->frag_off & bpf_htons(0x3fff)))
		return steer_icmp(context, packet + ip->ihl * 4, end);
	if (ip->protocol != IPPROTO_TCP)
		return count(PASS_NOT_TCP, XDP_PASS);
	map_ipv4(&listener.address, ip->daddr);
	header = packet + ip->ihl * 4;
	/* RFC 791 3.1: an offset, or more fragments to come. */
	if (ip->frag_off & bpf_htons(0x3fff))
		return drop_fragment(&listener);
	return steer(context, &listener, header, end);
}

static __always_inline int steer_ipv6(struct xdp_md *context, void *packet, void *end)
{
	struct ipv6hdr *ip = packet;
	struct listener listener = {};
	void *header = packet + sizeof(*ip);
	__u8 next;

	if (header > end)
		return count(PASS_SHORT, XDP_PASS);
	__builtin_memcpy(&listener.address, &ip->daddr, 16);
	next = ip->nexthdr;
	if (next == IPPROTO_TCP)
		return steer(context, &listener, header, end);
	if (next == IPPROTO_ICMPV6)
		return steer_icmpv6(context, header, end);
#pragma unroll
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		if (next == IPPROTO_FRAGMENT) {
			struct fragment *fragment = header;

			if (header + sizeof(*fragment) > end)
				return count(PASS_SHORT, XDP_PASS);
			/* RFC 8200 4.5: every fragment names the header that the first begins with. More
			 * extension headers behind it are as good as TCP: nobody else sends that. */
			if (fragment->next == IPPROTO_TCP || fragment->next == IPPROTO_DSTOPTS)
				return drop_fragment(&listener);
			return count(PASS_NOT_TCP, XDP_PASS);
		} else if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
			   next == IPPROTO_DSTOPTS) {
			struct extension *extension = header;

			if (header + sizeof(*extension) > end)
				return count(PASS_SHORT, XDP_PASS);
			next = extension->next;
			header += 8 + extension->length * 8;
		} else {
			break;
		}
	}
	if (next != IPPROTO_TCP)
		return count(PASS_NOT_TCP, XDP_PASS);
	return drop_extension(&listener, header, end);
}

SEC("xdp")
int steer_frame(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *frame = (void *)(long)context->data;
	struct ethhdr *ethernet = frame;
	void *packet = frame + sizeof(*ethernet);
	__be16 protocol;

	if (packet > end)
		return count(PASS_SHORT, XDP_PASS);
	protocol = ethernet->h_proto;
	if (protocol == bpf_htons(ETH_P_8021Q)) {
		struct vlan_header *vlan = packet;

		packet += sizeof(*vlan);
		if (packet > end)
			return count(PASS_SHORT, XDP_PASS);
		protocol = vlan->protocol;
	}
	if (protocol == bpf_htons(ETH_P_IP))
		return steer_ipv4(context, packet, end);
	if (protocol == bpf_htons(ETH_P_IPV6))
		return steer_ipv6(context, packet, end);
	return count(PASS_NOT_IP, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
