//! Players that speak Protocol Buffers, as the native mobile SDKs do; their messages are written and
//! read by another implementation ([`schema`]).

#![allow(clippy::unwrap_used, reason = "tests")]

mod schema;
mod world;

use engine::metrics::catalog::Metric;
use prost::Message;
use schema::{
    ChannelRequest, Command, ConnectRequest, PublishRequest, Reply, RpcRequest, SendRequest,
    SubscribeRequest,
};
use world::World;

const TARGET: &str = "/connection/websocket";
const PHONE: &str = "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n";

fn command(id: u32, set: impl FnOnce(&mut Command)) -> Command {
    let mut command = Command {
        id,
        ..Command::default()
    };
    set(&mut command);
    command
}

fn connect(id: u32) -> Command {
    command(id, |command| {
        command.connect = Some(ConnectRequest::default())
    })
}

fn subscribe(id: u32, channel: &str) -> Command {
    let subscribe = SubscribeRequest {
        channel: channel.to_owned(),
        ..SubscribeRequest::default()
    };
    command(id, |command| command.subscribe = Some(subscribe))
}

fn unsubscribe(id: u32, channel: &str) -> Command {
    let channel = channel.to_owned();
    command(id, |command| {
        command.unsubscribe = Some(ChannelRequest { channel })
    })
}

fn publish(id: u32, channel: &str, data: &[u8]) -> Command {
    let publish = PublishRequest {
        channel: channel.to_owned(),
        data: data.to_vec(),
    };
    command(id, |command| command.publish = Some(publish))
}

/// Commands as one message.
fn message(commands: &[Command]) -> Vec<u8> {
    let each = commands.iter().map(Message::encode_length_delimited_to_vec);
    each.collect::<Vec<_>>().concat()
}

fn send(world: &mut World, player: usize, commands: &[Command]) {
    world.send_frame(player, 0x82, &message(commands));
}

/// What has come: replies of whole binary frames, pings among them.
fn replies(world: &mut World, player: usize) -> Vec<Reply> {
    let mut replies = Vec::new();
    for (first, payload) in world.frames(player) {
        assert_eq!(first, 0x82, "{payload:x?}");
        let mut rest = &payload[..];
        while !rest.is_empty() {
            replies.push(Reply::decode_length_delimited(&mut rest).unwrap());
        }
    }
    replies
}

fn ask(world: &mut World, player: usize, commands: &[Command]) -> Vec<Reply> {
    send(world, player, commands);
    world.run(20);
    replies(world, player)
}

/// Upgrades and connects.
fn phone(world: &mut World) -> usize {
    phone_of(world, "swift")
}

/// A player of the SDK called `name`.
fn phone_of(world: &mut World, name: &str) -> usize {
    let player = world.upgrade_at(TARGET, PHONE);
    let mut command = connect(1);
    command.connect.as_mut().unwrap().name = name.to_owned();
    assert!(ask(world, player, &[command])[0].connect.is_some());
    player
}

#[test]
fn commands_of_one_frame_are_answered_in_order() {
    let mut world = World::new();
    for (target, lines) in [
        (TARGET, PHONE),
        ("/connection/websocket?format=protobuf", ""),
        ("/connection/websocket?cf_protocol=protobuf", ""),
    ] {
        let player = world.upgrade_at(target, lines);
        let commands = [
            connect(1),
            subscribe(2, "h"),
            unsubscribe(3, "h"),
            publish(4, "h", b"1"),
        ];
        let replies = ask(&mut world, player, &commands);
        let ids: Vec<u32> = replies.iter().map(|reply| reply.id).collect();
        assert_eq!(ids, [1, 2, 3, 4]);
        let connect = replies[0].connect.as_ref().unwrap();
        assert_eq!((connect.ping, connect.pong), (25, true));
        assert_eq!(connect.client.len(), 36);
        let subscribe = replies[1].subscribe.as_ref().unwrap();
        assert!(subscribe.recoverable && !subscribe.epoch.is_empty());
        assert!(replies[2].unsubscribe.is_some() && replies[3].publish.is_some());
    }
}

#[test]
fn a_phone_says_where_it_is() {
    let mut world = World::new();
    let player = world.upgrade_at(TARGET, PHONE);
    let mut hello = connect(1);
    hello.connect.as_mut().unwrap().token = "good".to_owned();
    let rpc = |id, method: &str, data: &str| {
        let (method, data) = (method.to_owned(), data.as_bytes().to_vec());
        command(id, |command| {
            command.rpc = Some(RpcRequest { data, method })
        })
    };
    let here = r#"{"position":{"lat":52.5,"lon":13.4,"accuracy":5}}"#;
    let send = command(0, |command| {
        let data = br#"{"positions":[{"lat":1,"lon":2},{"lat":1,"lon":3}]}"#.to_vec();
        command.send = Some(SendRequest { data });
    });
    let nowhere = r#"{"position":{"lat":91,"lon":0}}"#;
    let commands = [
        hello,
        rpc(2, "position", here),
        send,
        rpc(3, "position", nowhere),
        rpc(4, "else", here),
    ];
    let replies = ask(&mut world, player, &commands);
    let said = |id: u32| replies.iter().find(|reply| reply.id == id).unwrap();
    assert_eq!(said(2).rpc.as_ref().unwrap().data, b"{}");
    assert_eq!(said(3).error.as_ref().unwrap().code, 107);
    assert_eq!(said(4).error.as_ref().unwrap().code, 104);
    assert_eq!(world.count(Metric::PathMessagesInvalid), 1);
}

#[test]
fn the_opcode_does_not_matter() {
    let mut world = World::new();
    let player = world.upgrade_at(TARGET, PHONE);
    world.send_frame(player, 0x81, &message(&[connect(1)]));
    world.run(20);
    assert!(replies(&mut world, player)[0].connect.is_some());
}

#[test]
fn only_json_is_published_and_without_white_space() {
    let mut world = World::new();
    let browser = world.connect();
    world.subscribe(browser, "h");
    let player = phone(&mut world);
    for data in [&b""[..], b"{", b"\xff", b"plain text", &b"[".repeat(200)] {
        let replies = ask(&mut world, player, &[publish(2, "h", data)]);
        assert_eq!(replies[0].error.as_ref().unwrap().code, 107, "{data:x?}");
    }
    let data = b"{\n \"a b\": [1, \"\\n\"]\r\n}";
    let replies = ask(&mut world, player, &[publish(3, "h", data)]);
    assert!(replies[0].publish.is_some(), "{replies:?}");
    let push = world.players[browser].inbox.pop_front().unwrap();
    assert!(push.contains(r#""data":{"a b":[1,"\n"]},"#), "{push}");
    assert!(world.players[browser].inbox.is_empty());
}

#[test]
fn commands_behind_a_slow_one_wait_for_their_turn() {
    let mut world = World::new();
    let player = phone(&mut world);
    world.journal_works = false;
    send(
        &mut world,
        player,
        &[subscribe(5, "a"), unsubscribe(6, "b")],
    );
    send(
        &mut world,
        player,
        &[unsubscribe(7, "c"), unsubscribe(8, "d")],
    );
    send(&mut world, player, &[subscribe(9, "closed:x")]);
    world.run(50);
    assert_eq!(replies(&mut world, player), []);
    world.journal_works = true;
    world.run(50);
    let replies = replies(&mut world, player);
    let ids: Vec<u32> = replies.iter().map(|reply| reply.id).collect();
    assert_eq!(ids, [5, 6, 7, 8, 9]);
    assert_eq!(replies[4].error.as_ref().unwrap().code, 103);
    // Half a command is not made whole by what comes behind it.
    world.journal_works = false;
    let whole = message(&[unsubscribe(11, "b")]);
    let (half, rest) = whole.split_at(4);
    send(&mut world, player, &[subscribe(10, "e")]);
    world.send_frame(player, 0x82, &[&whole, half].concat());
    world.send_frame(player, 0x82, rest);
    world.run(20);
    let frames = world.frames(player);
    assert_eq!(frames[0].1[..2], 3501_u16.to_be_bytes());
}

#[test]
fn what_is_no_command_closes_the_connection() {
    let mut world = World::new();
    let mut two = unsubscribe(3, "h");
    two.publish = publish(3, "h", b"1").publish;
    let ping = command(3, |command| command.ping = Some(schema::Empty {}));
    for bytes in [
        b"".to_vec(),
        // A pong that nobody asked for.
        vec![0],
        b"{}".to_vec(),
        vec![9, 1],
        message(&[command(3, |_| ())]),
        message(&[unsubscribe(0, "h")]),
        message(&[unsubscribe(3, "")]),
        message(&[connect(3)]),
        message(&[ping]),
        message(&[two]),
        [&message(&[unsubscribe(3, "h")])[..], &[7]].concat(),
    ] {
        let player = phone(&mut world);
        world.send_frame(player, 0x82, &bytes);
        world.run(20);
        let frames = world.frames(player);
        let (first, close) = frames.last().unwrap();
        assert_eq!(*first, 0x88, "{bytes:x?}");
        assert_eq!(close[..2], 3501_u16.to_be_bytes(), "{bytes:x?}");
    }
}

#[test]
fn pings_are_answered_by_one_zero_byte() {
    let mut world = World::new();
    let (good, mute) = (phone(&mut world), phone(&mut world));
    let mut pings = 0;
    for _ in 0..80_000 {
        world.step();
        for frame in world.frames(good) {
            assert_eq!(frame, (0x82, vec![0]));
            pings += 1;
            world.send_frame(good, 0x82, &[0]);
        }
    }
    assert!(pings >= 3, "{pings}");
    let frames = world.frames(mute);
    assert_eq!(frames[0], (0x82, vec![0]));
    assert_eq!(frames[1].1[..2], 3012_u16.to_be_bytes());
}

/// The reply to a subscribe.
fn enter(world: &mut World, player: usize, request: SubscribeRequest) -> schema::SubscribeResult {
    let request = command(2, |command| command.subscribe = Some(request));
    let mut replies = ask(world, player, &[request]);
    assert_eq!(replies.len(), 1, "{replies:?}");
    replies.remove(0).subscribe.unwrap()
}

/// Each publication pushed: the push's number and hunt, and the publication.
fn pushed(world: &mut World, player: usize) -> Vec<(i64, String, schema::Publication)> {
    let pushes = replies(world, player).into_iter().map(|reply| {
        let push = reply.push.unwrap();
        (push.id, push.channel, push.publication.unwrap())
    });
    pushes.collect()
}

fn event(n: u64) -> schema::Publication {
    schema::Publication {
        data: format!("{{\"clue\":{n}}}").into_bytes(),
        offset: n,
        ..schema::Publication::default()
    }
}

#[test]
fn events_reach_everyone_in_the_form_agreed_on() {
    let mut world = World::new();
    let browsers = [world.connect(), world.connect()];
    world.subscribe(browsers[0], "h");
    let numbered = r#"{"id":2,"subscribe":{"channel":"h","flag":1}}"#;
    let reply = world.ask(browsers[1], numbered);
    let phones = [phone(&mut world), phone(&mut world)];
    let request = |flag| SubscribeRequest {
        channel: "h".to_owned(),
        flag,
        ..SubscribeRequest::default()
    };
    assert_eq!(enter(&mut world, phones[0], request(0)).id, 0);
    let page = phone_of(&mut world, "js");
    assert_eq!(
        enter(&mut world, page, request(1)).id,
        0,
        "it would drop all pushes with a number"
    );
    let id = enter(&mut world, phones[1], request(1)).id;
    assert!(
        id > 0 && reply.contains(&format!("\"id\":{id}")),
        "{id} {reply}"
    );
    for n in 1..=50 {
        world.publish("h", &format!("{{\"clue\":{n}}}"));
        world.step();
    }
    world.run(20);
    let wanted = |id, channel: &str| {
        let push = |n| (id, channel.to_owned(), event(n));
        (1..=50).map(push).collect::<Vec<_>>()
    };
    assert_eq!(pushed(&mut world, phones[0]), wanted(0, "h"));
    assert_eq!(pushed(&mut world, phones[1]), wanted(id, ""));
    assert_eq!(pushed(&mut world, page), wanted(0, "h"));
    let first = r#"{"push":{"channel":"h","pub":{"data":{"clue":1},"offset":1}}}"#;
    assert_eq!(world.players[browsers[0]].inbox[0], first);
    let first = format!(r#"{{"push":{{"id":{id},"pub":{{"data":{{"clue":1}},"offset":1}}}}}}"#);
    assert_eq!(world.players[browsers[1]].inbox[0], first);
    for browser in browsers {
        assert_eq!(world.offsets(browser), (1..=50).collect::<Vec<u64>>());
    }
}

#[test]
fn a_returning_phone_gets_what_it_missed() {
    let mut world = World::new();
    let player = phone(&mut world);
    let request = SubscribeRequest {
        channel: "h".to_owned(),
        ..SubscribeRequest::default()
    };
    let epoch = enter(&mut world, player, request.clone()).epoch;
    world.reset(player);
    // Its log is gone when the player comes back.
    world.run(31_000);
    let publisher = world.upgrade();
    world.ask(publisher, r#"{"id":1,"connect":{"token":"good"}}"#);
    for n in 1..=9 {
        let publish = format!(r#"{{"id":2,"publish":{{"channel":"h","data":{{"clue":{n}}}}}}}"#);
        world.ask(publisher, &publish);
    }
    let player = phone(&mut world);
    let result = enter(
        &mut world,
        player,
        SubscribeRequest {
            recover: true,
            epoch,
            offset: 3,
            ..request
        },
    );
    assert!(result.recovered && result.was_recovering);
    assert_eq!((result.offset, result.publications.len()), (3, 6));
    for (n, publication) in (4..).zip(&result.publications) {
        let info = publication.info.as_ref().unwrap();
        assert_eq!(
            (&*info.user, &info.conn_info[..]),
            ("ann", &b"{\"n\":1}"[..])
        );
        assert_eq!((&publication.data, publication.offset), (&event(n).data, n));
    }
}
