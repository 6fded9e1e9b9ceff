//! A player's path over HTTP, asked of a journal that the test plays.

use engine::path::{Place, Point};
use engine::ring::broadcast::PathPage;
use engine::ring::submit::Path;

use super::*;

/// Two points; one of them says more than place and time.
fn two() -> Vec<u8> {
    let mut list = Vec::new();
    for (time_ms, extra) in [(5, &b""[..]), (6, br#"{"n":"}\"","accuracy":4.50}"#)] {
        Point {
            time_ms,
            lat_e7: -15_000_000,
            lon_e7: 1_799_999_999,
            extra,
        }
        .append(&mut list);
    }
    list
}

#[test]
fn a_page_is_asked_for_and_written() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let backend = Backend::start(Box::new(move |submission, say| {
        let Submission::Path(Path {
            token,
            user,
            from,
            end,
            limit,
        }) = submission
        else {
            panic!("{submission:?}");
        };
        ears.lock()
            .unwrap()
            .push((user.to_owned(), from, end, limit));
        let next = (limit == 2).then_some(Place {
            time_ms: 7,
            arrival: 8,
        });
        say(Record::Path(PathPage {
            token,
            points: &two(),
            next,
        }));
    }));
    let get = |query: &str| {
        let (status, text) = backend.get(&format!("/api/players/a%2Fb%20c/path{query}"));
        assert!(status == 200, "{text}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    };
    let key = "api_key=a%2Bb%2Fc%3D";
    let (head, body) = get(&format!("?{key}"));
    assert!(head.contains("content-type: application/json"), "{head}");
    // What else a point says keeps its bytes.
    let wanted = r#"{"points":[{"lat":-1.5,"lon":179.9999999,"t":5},{"lat":-1.5,"lon":179.9999999,"t":6,"n":"}\"","accuracy":4.50}]}"#;
    assert_eq!(body, wanted);
    let (head, body) = get(&format!("?{key}&from=3&to=9&limit=2&format=geojson"));
    assert!(
        head.contains("content-type: application/geo+json"),
        "{head}"
    );
    let body: Value = serde_json::from_str(&body).unwrap();
    let next = "00000000000000070000000000000008";
    let at = json!([179.999_999_9, -1.5]);
    let geometry = json!({"type": "LineString", "coordinates": [at, at]});
    let properties = json!({"player": "a/b c", "times": [5, 6]});
    let feature = json!({"type": "Feature", "geometry": geometry, "properties": properties});
    let wanted = json!({"type": "FeatureCollection", "features": [feature], "next": next});
    assert_eq!(body, wanted);
    get(&format!("?{key}&cursor={next}&from=3"));
    let user = "a/b c".to_owned();
    let all = (user.clone(), Place::at(0), Place::at(u64::MAX), 1_000);
    let some = (user.clone(), Place::at(3), Place::at(10), 2);
    let rest = (
        user,
        Place {
            time_ms: 7,
            arrival: 8,
        },
        Place::at(u64::MAX),
        1_000,
    );
    assert_eq!(*heard.lock().unwrap(), [all, some, rest]);
}

#[test]
fn what_is_refused_has_its_status() {
    let backend = Backend::start(Box::new(|submission, say| {
        let Submission::Path(Path { token, user, .. }) = submission else {
            panic!("{submission:?}");
        };
        let refusal = match user {
            "bad" => Refusal::BadRequest,
            _ => Refusal::Unavailable,
        };
        say(Record::Refused { token, refusal });
    }));
    let key = "api_key=a%2Bb%2Fc%3D";
    let status = |path: &str| backend.get(path).0;
    assert_eq!(status("/api/players/ann/path"), 401);
    assert_eq!(status("/api/players/ann/path?api_key=x"), 401);
    assert_eq!(status(&format!("/api/players/ann/path?{key}")), 500);
    assert_eq!(status(&format!("/api/players/bad/path?{key}")), 400);
    for query in [
        "limit=0",
        "from=-1",
        "to=x",
        "cursor=1",
        "format=kml",
        "limit=1&limit=x",
    ] {
        assert_eq!(
            status(&format!("/api/players/ann/path?{key}&{query}")),
            400,
            "{query}"
        );
    }
    // Not UTF-8, and no such place.
    assert_eq!(status(&format!("/api/players/%ff/path?{key}")), 400);
    assert_eq!(status(&format!("/api/players/ann?{key}")), 404);
    let counts = [Metric::ApiUnauthorized, Metric::ApiErrors].map(|metric| backend.count(metric));
    assert_eq!(counts, [2, 8]);
}
