//! Who may do what: one table a command, the columns in the order of its checks.

use super::*;

const CLIENT: &str = "4f1f6e6c-1f35-8a3f-9d3b-5f3a3f5b7c11";

/// The rules in which `options` are on, and no other.
fn channel(options: &str) -> ChannelRules {
    let mut rules = ChannelRules::default();
    for option in options.split_whitespace() {
        let rule = match option {
            "history" => &mut rules.history,
            "force_recovery" => &mut rules.force_recovery,
            "allow_recovery" => &mut rules.allow_recovery,
            "force_positioning" => &mut rules.force_positioning,
            "allow_positioning" => &mut rules.allow_positioning,
            "presence" => &mut rules.presence,
            "join_leave" => &mut rules.join_leave,
            "force_push_join_leave" => &mut rules.force_push_join_leave,
            "subscribe_for_client" => &mut rules.allow_subscribe_for_client,
            "subscribe_for_anonymous" => &mut rules.allow_subscribe_for_anonymous,
            "user_limited_channels" => &mut rules.allow_user_limited_channels,
            "publish_for_client" => &mut rules.allow_publish_for_client,
            "publish_for_subscriber" => &mut rules.allow_publish_for_subscriber,
            "publish_for_anonymous" => &mut rules.allow_publish_for_anonymous,
            "history_for_client" => &mut rules.allow_history_for_client,
            "history_for_subscriber" => &mut rules.allow_history_for_subscriber,
            "history_for_anonymous" => &mut rules.allow_history_for_anonymous,
            "presence_for_client" => &mut rules.allow_presence_for_client,
            "presence_for_subscriber" => &mut rules.allow_presence_for_subscriber,
            "presence_for_anonymous" => &mut rules.allow_presence_for_anonymous,
            other => panic!("no option {other}"),
        };
        *rule = true;
    }
    rules
}

/// A namespace for each way to be let in.
fn rules() -> Rules {
    let namespaces = [
        (
            "open",
            "history presence subscribe_for_client publish_for_client history_for_client
             presence_for_client",
        ),
        (
            "all",
            "history presence subscribe_for_client subscribe_for_anonymous publish_for_client
             publish_for_anonymous history_for_client history_for_anonymous presence_for_client
             presence_for_anonymous",
        ),
        (
            "inside",
            "history presence publish_for_subscriber history_for_subscriber presence_for_subscriber",
        ),
        (
            "users",
            "user_limited_channels subscribe_for_client subscribe_for_anonymous",
        ),
        // By itself it allows nobody anything.
        (
            "anonymous",
            "history presence subscribe_for_anonymous publish_for_anonymous history_for_anonymous
             presence_for_anonymous",
        ),
    ];
    let namespaces = namespaces.map(|(name, options)| (name.to_owned(), channel(options)));
    Rules {
        namespaces: namespaces.to_vec(),
        ..Rules::default()
    }
}

fn wish<'a>(channel: &'a str, user: &'a str) -> Wish<'a> {
    Wish {
        channel,
        user,
        client: CLIENT,
        ..Wish::default()
    }
}

fn token(channel: &str, user: &str, client: &str) -> Result<SubscriptionClaims, TokenError> {
    Ok(SubscriptionClaims {
        user: user.to_owned(),
        channel: channel.to_owned(),
        client: client.to_owned(),
        ttl_s: Some(60),
        info: b"{\"i\":1}".to_vec(),
        data: b"{\"d\":1}".to_vec(),
        overrides: Overrides::default(),
    })
}

/// The refusal's number; 0 when it is granted.
fn number<T>(result: Result<T, impl Into<Denied>>) -> u16 {
    match result.map_err(Into::into) {
        Ok(_) => 0,
        Err(Denied::Error(error)) => error.code(),
        Err(Denied::Disconnect(disconnect)) => disconnect.code(),
    }
}

#[test]
fn subscribing_without_a_token() {
    let long = format!("open:{}", "x".repeat(251));
    let table = [
        ("open:1", "42", 0),
        ("open:1", "", 103),
        ("all:1", "", 0),
        ("anonymous:1", "", 103),
        ("anonymous:1", "42", 103),
        ("inside:1", "42", 103),
        ("1", "42", 103),
        ("other:1", "42", 102),
        (":1", "42", 102),
        (long.as_str(), "42", 107),
        ("open:\u{e9}", "42", 107),
        // The namespace goes before the characters of the name.
        ("other:\u{e9}", "42", 102),
        ("$open:1", "42", 103),
        ("$1", "42", 103),
        ("$other:1", "42", 102),
        // The namespaces in which # means nothing, and the one in which it does.
        ("open:a#7", "42", 0),
        ("users:a#42", "42", 0),
        ("users:a#7,42", "42", 0),
        ("users:a#7,42,8", "42", 0),
        ("users:a#42#7", "42", 103),
        ("users:a#7#42", "42", 0),
        ("users:a#7,8", "42", 103),
        ("users:a#142", "42", 103),
        ("users:a#", "42", 103),
        ("users:a#", "", 103),
        ("users:a#7,", "", 103),
        ("users:a", "42", 0),
        ("users:a", "", 0),
        ("$users:a#42", "42", 103),
    ];
    for (channel, user, expected) in table {
        let found = number(may_subscribe(&rules(), &wish(channel, user), None));
        assert_eq!(found, expected, "{user:?} to {channel}");
    }
}

#[test]
fn a_token_alone_decides() {
    let table = [
        ("1", "42", token("1", "42", ""), 0),
        ("$1", "42", token("$1", "42", CLIENT), 0),
        ("1", "", token("1", "", ""), 0),
        ("users:a#7", "42", token("users:a#7", "42", ""), 0),
        ("1", "42", Err(TokenError::Expired), 109),
        ("1", "42", Err(TokenError::Lapsed), 110),
        ("1", "42", Err(TokenError::Invalid), 103),
        ("1", "42", token("2", "42", ""), 3500),
        ("1", "42", token("$1", "42", ""), 3500),
        ("1", "42", token("1", "43", ""), 3500),
        ("1", "42", token("1", "", ""), 3500),
        ("1", "42", token("1", "42", "another"), 3500),
        // A bad token is not made good by the namespace,
        ("open:1", "42", Err(TokenError::Invalid), 103),
        ("open:1", "42", Err(TokenError::Expired), 109),
        ("users:a#42", "42", Err(TokenError::Invalid), 103),
        // and a good one does not make a name good.
        ("other:1", "42", token("other:1", "42", ""), 102),
        ("\u{e9}", "42", token("\u{e9}", "42", ""), 107),
    ];
    for (channel, user, token, expected) in table {
        let rules = rules();
        let result = may_subscribe(&rules, &wish(channel, user), Some(&token));
        assert_eq!(number(result), expected, "{user:?} to {channel}: {token:?}");
        if let Ok(granted) = result {
            assert_eq!(granted.ttl_s, Some(60));
            assert_eq!(
                (granted.info, granted.data),
                (&b"{\"i\":1}"[..], &b"{\"d\":1}"[..])
            );
        }
    }
}

/// Which of recoverable, positioned, presence, join_leave and push_join_leave are granted.
fn letters(granted: &Granted<'_>) -> String {
    let flags = [
        (granted.recoverable, 'r'),
        (granted.positioned, 'p'),
        (granted.presence, 'o'),
        (granted.join_leave, 'j'),
        (granted.push_join_leave, 'n'),
    ];
    flags
        .into_iter()
        .filter_map(|(on, letter)| on.then_some(letter))
        .collect()
}

#[test]
fn what_a_subscription_comes_to() {
    let quiet = Wish {
        user: "42",
        ..Wish::default()
    };
    let asks = Wish {
        recoverable: true,
        positioned: true,
        join_leave: true,
        ..quiet
    };
    let anonymous = Wish { user: "", ..asks };
    // The rules, and what is granted to who asks nothing, who asks everything, and so if anonymous.
    let table = [
        ("", "", "", ""),
        ("history", "", "", ""),
        ("history force_recovery", "rp", "rp", "rp"),
        ("history force_positioning", "p", "p", "p"),
        ("history allow_recovery", "", "rp", "rp"),
        ("history allow_positioning", "", "p", "p"),
        ("history history_for_client", "", "rp", ""),
        ("history history_for_subscriber", "", "rp", ""),
        (
            "history history_for_subscriber history_for_anonymous",
            "",
            "rp",
            "rp",
        ),
        // Nothing to recover from.
        ("force_recovery", "", "", ""),
        ("allow_positioning", "", "", ""),
        ("presence", "o", "o", "o"),
        ("join_leave", "j", "j", "j"),
        ("join_leave force_push_join_leave", "jn", "jn", "jn"),
        ("join_leave presence_for_client", "j", "jn", "j"),
        ("join_leave presence_for_subscriber", "j", "jn", "j"),
        // Nobody comes or goes that one could be told of.
        ("history presence_for_client", "", "", ""),
    ];
    for (options, to_quiet, to_asking, to_anonymous) in table {
        let channel = channel(options);
        let found = [&quiet, &asks, &anonymous].map(|wish| letters(&granted(&channel, wish)));
        assert_eq!(found, [to_quiet, to_asking, to_anonymous], "{options}");
    }
}

#[test]
fn a_token_overrides_the_rules_of_its_subscription() {
    let with = |overrides| {
        let mut rules = rules();
        rules.default.history = true;
        rules.default.presence = true;
        let token = token("1", "42", "").map(|claims| SubscriptionClaims {
            overrides,
            ..claims
        });
        let by_player = may_subscribe(&rules, &wish("1", "42"), Some(&token)).unwrap();
        let subscription = ServerSubscription {
            channel: "1".to_owned(),
            overrides,
            ..ServerSubscription::default()
        };
        let by_us = by_server(&rules, &subscription).unwrap();
        assert_eq!(letters(&by_us), letters(&by_player));
        letters(&by_player)
    };
    let none = Overrides::default();
    let yes = Some(true);
    assert_eq!(with(none), "o");
    assert_eq!(
        with(Overrides {
            presence: Some(false),
            ..none
        }),
        ""
    );
    assert_eq!(
        with(Overrides {
            force_recovery: yes,
            ..none
        }),
        "rpo"
    );
    assert_eq!(
        with(Overrides {
            force_positioning: yes,
            ..none
        }),
        "po"
    );
    assert_eq!(
        with(Overrides {
            join_leave: yes,
            ..none
        }),
        "oj"
    );
    assert_eq!(
        with(Overrides {
            force_push_join_leave: yes,
            ..none
        }),
        "on"
    );
}

#[test]
fn refreshing_a_subscription() {
    let table = [
        (true, Some(token("1", "42", "")), 0),
        (true, Some(token("1", "42", CLIENT)), 0),
        (false, Some(token("1", "42", "")), 103),
        (true, None, 107),
        (true, Some(Err(TokenError::Expired)), 110),
        (true, Some(Err(TokenError::Lapsed)), 110),
        (true, Some(Err(TokenError::Invalid)), 3500),
        (true, Some(token("2", "42", "")), 3500),
        (true, Some(token("1", "43", "")), 3500),
        (true, Some(token("1", "42", "another")), 3500),
    ];
    for (subscribed, token, expected) in table {
        let result = may_refresh_subscription(&wish("1", "42"), subscribed, token.as_ref());
        assert_eq!(number(result), expected, "{token:?}");
    }
}

#[test]
fn connecting_and_refreshing() {
    let claims = |user: &str| {
        Ok(Claims {
            user: user.to_owned(),
            ..Claims::default()
        })
    };
    // The token; numbers for a connect by the rules, one where anonymous tokens are refused, one
    // where no token is needed; the number for a refresh by user 42.
    let table = [
        (None, 3501, 3501, 0, None),
        (Some(claims("42")), 0, 0, 0, Some(0)),
        (Some(claims("43")), 0, 0, 0, Some(3500)),
        (Some(claims("")), 0, 3507, 0, Some(3500)),
        (Some(Err(TokenError::Expired)), 109, 109, 109, Some(3005)),
        (Some(Err(TokenError::Lapsed)), 110, 110, 110, Some(110)),
        (Some(Err(TokenError::Invalid)), 3500, 3500, 3500, Some(3500)),
    ];
    let mut strict = rules();
    strict.disallow_anonymous_connection_tokens = true;
    let mut lax = rules();
    lax.anonymous = true;
    for (token, by_rules, by_strict, by_lax, refresh) in table {
        assert_eq!(
            number(may_connect(&rules(), token.as_ref())),
            by_rules,
            "{token:?}"
        );
        assert_eq!(
            number(may_connect(&strict, token.as_ref())),
            by_strict,
            "{token:?}"
        );
        assert_eq!(
            number(may_connect(&lax, token.as_ref())),
            by_lax,
            "{token:?}"
        );
        let found = token.as_ref().map(|token| number(may_refresh("42", token)));
        assert_eq!(found, refresh, "{token:?}");
    }
}

#[test]
fn server_side_subscriptions() {
    let mut rules = rules();
    assert_eq!(personal(&rules, "42"), None);
    rules.personal_channel = Some("users:#".to_owned());
    assert_eq!(personal(&rules, "42").unwrap().channel, "users:#42");
    assert_eq!(personal(&rules, ""), None);
    let numbers = ["1", "$1", "users:#42", "other:1", "\u{e9}"].map(|channel| {
        let subscription = ServerSubscription {
            channel: channel.to_owned(),
            ..ServerSubscription::default()
        };
        number(by_server(&rules, &subscription))
    });
    assert_eq!(numbers, [0, 0, 0, 102, 107]);
    // Those that a connect command names: granted, left out, or the end.
    let wished =
        |channel| wished_at_connect(&rules, channel, "42").map(|granted| granted.is_some());
    assert_eq!(wished("open:1"), Ok(true));
    assert_eq!(wished("users:a#42"), Ok(true));
    for left_out in ["1", "$open:1", "users:a#7", "open:\u{e9}"] {
        assert_eq!(wished(left_out), Ok(false), "{left_out}");
    }
    assert_eq!(wished("other:1"), Err(Disconnect::BadRequest));
}

#[test]
fn publishing_and_reading() {
    // The hunt, the user, whether it is subscribed; the number for all three commands.
    let table = [
        ("open:1", "42", false, 0),
        ("open:1", "", true, 103),
        ("all:1", "", false, 0),
        ("inside:1", "42", false, 103),
        ("inside:1", "42", true, 0),
        ("inside:1", "", true, 103),
        ("anonymous:1", "", true, 103),
        ("anonymous:1", "42", true, 103),
        ("other:1", "42", true, 102),
        ("all:\u{e9}", "42", true, 107),
    ];
    let rules = rules();
    for (channel, user, subscribed, expected) in table {
        let found = [
            number(may_publish(&rules, channel, user, subscribed)),
            number(may_history(&rules, channel, user, subscribed)),
            number(may_presence(&rules, channel, user, subscribed)),
        ];
        assert_eq!(found, [expected; 3], "{channel} {user:?} {subscribed}");
    }
    // Where there is nothing to read, that is said first.
    assert_eq!(number(may_publish(&rules, "1", "42", true)), 103);
    assert_eq!(number(may_history(&rules, "1", "42", true)), 108);
    assert_eq!(number(may_presence(&rules, "1", "42", true)), 108);
}
