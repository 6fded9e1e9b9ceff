//! Steers game traffic into AF_XDP sockets.
