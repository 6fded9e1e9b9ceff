//! Any bytes as a message of client commands: an end after the first bad one, and never a panic. A
//! command has at least a byte, a map of subscriptions is read to its end, and what passes as JSON is.

use engine::session::codec::{Body, Protocol, append_line, is_pong, take_command};

/// Reads all commands of `data` as `protocol`, then lets a session act on them.
pub fn run(protocol: Protocol, data: &[u8]) {
    read(protocol, data);
    super::session::run(protocol, data);
}

fn read(protocol: Protocol, data: &[u8]) {
    let mut rest = data;
    let mut count = 0;
    loop {
        let before = rest.len();
        let command = take_command(protocol, &mut rest);
        count += 1;
        if is_pong(protocol, data) {
            assert!(
                command
                    .as_ref()
                    .is_ok_and(|command| command.body == Body::Pong)
            );
        }
        let Ok(command) = command else {
            return;
        };
        assert!(rest.len() < before && count <= data.len());
        match command.body {
            Body::Connect(connect) => {
                let mut subs = 0;
                connect.subs.for_each(|_| subs += 1);
                assert!(subs <= data.len());
            }
            Body::Publish(publish) => compact(publish.data),
            _ => {}
        }
        if rest.is_empty() {
            return;
        }
    }
}

/// What passes is JSON of one line, and passes again as it is.
fn compact(data: &[u8]) {
    let mut out = Vec::new();
    if append_line(&mut out, data).is_ok() {
        assert!(!out.is_empty() && !out.contains(&b'\n'));
        let mut again = Vec::new();
        assert!(append_line(&mut again, &out).is_ok() && again == out);
    }
}
