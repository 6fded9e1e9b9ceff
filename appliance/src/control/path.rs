//! `GET /api/players/{id}/path`: where a player has been, page by page, as JSON or GeoJSON (RFC 7946).
//!
//! The journal reads the page; this file says what was asked and writes what was found. Times are
//! milliseconds since 1970. `docs/positions.md` has the whole of it.

use std::collections::HashMap;
use std::time::Duration;

use engine::path::{PAGE_POINTS_MAX, Place, Point};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::control::client::Walked;
use crate::control::methods::BadBody;

/// How the points are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Every point with all that it says.
    Json,
    /// A line on a map.
    GeoJson,
}

impl Format {
    /// The media type.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::GeoJson => "application/geo+json",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Query {
    /// The first place that is wanted.
    pub(super) from: Place,
    /// The first one that is not.
    pub(super) end: Place,
    /// Points at most, 1 to [`PAGE_POINTS_MAX`].
    pub(super) limit: usize,
    /// How they are written.
    pub(super) format: Format,
}

impl Query {
    /// Reads the query of a request; unknown names are left alone, as the key may be among them.
    pub(super) fn parse(query: &HashMap<String, String>) -> Result<Query, BadBody> {
        let given = |name: &str| query.get(name).map(String::as_str);
        let number = |name: &str, otherwise: u64| match given(name) {
            None => Ok(otherwise),
            Some(text) => {
                let number = text.parse();
                number.map_err(|_| BadBody(format!("{name} is no whole number: \"{text}\"")))
            }
        };
        let limit = number("limit", PAGE_POINTS_MAX as u64)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if !(1..=PAGE_POINTS_MAX).contains(&limit) {
            return Err(BadBody(format!("limit is not 1 to {PAGE_POINTS_MAX}")));
        }
        let from = Place::at(number("from", 0)?);
        let from = match given("cursor") {
            None => from,
            Some(text) => {
                let place = from_cursor(text);
                place.ok_or_else(|| BadBody("cursor is not one that an answer gave".to_owned()))?
            }
        };
        Ok(Query {
            from,
            // Up to and with `to`.
            end: Place::at(number("to", u64::MAX - 1)?.saturating_add(1)),
            limit,
            format: match given("format") {
                None | Some("json") => Format::Json,
                Some("geojson") => Format::GeoJson,
                Some(_) => return Err(BadBody("format is neither json nor geojson".to_owned())),
            },
        })
    }
}

fn cursor(place: Place) -> String {
    format!("{:016x}{:016x}", place.time_ms, place.arrival)
}

fn from_cursor(text: &str) -> Option<Place> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let (time_ms, arrival) = text.split_at_checked(16)?;
    Some(Place {
        time_ms: u64::from_str_radix(time_ms, 16).ok()?,
        arrival: u64::from_str_radix(arrival, 16).ok()?,
    })
}

/// The answer's body.
pub(super) fn body(player: &str, page: &Walked, format: Format) -> serde_json::Result<String> {
    match format {
        Format::Json => points(page),
        Format::GeoJson => Ok(collection(player, page)),
    }
}

#[derive(Serialize)]
struct Page<'a> {
    points: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

fn points(page: &Walked) -> serde_json::Result<String> {
    let points = Point::list(&page.points).map(|point| {
        let (lat, lon) = point.degrees();
        let fixed = json!({"lat": lat, "lon": lon, "t": point.time_ms}).to_string();
        // An object without its brackets behind an object without its last one.
        let extra = String::from_utf8_lossy(point.extra);
        let whole = match extra.strip_prefix('{') {
            Some(fields) => format!("{},{fields}", fixed.trim_end_matches('}')),
            None => fixed,
        };
        RawValue::from_string(whole)
    });
    let points = points.collect::<Result<Vec<_>, _>>()?;
    serde_json::to_string(&Page {
        points: points.iter().map(|point| &**point).collect(),
        next: page.next.map(cursor),
    })
}

/// One feature: a line, for a single point that point, for none nothing (RFC 7946 section 3.1.4: a line
/// has two positions or more). Positions are longitude, latitude (section 3.1.1).
fn collection(player: &str, page: &Walked) -> String {
    let lines = lines(Point::list(&page.points));
    let mut times: Vec<Vec<u64>> = Vec::new();
    let mut positions: Vec<Vec<[f64; 2]>> = Vec::new();
    for line in lines {
        times.push(line.iter().map(|stop| stop.time_ms).collect());
        positions.push(line.iter().map(|stop| [stop.lon, stop.lat]).collect());
    }
    let geometry = match positions.as_slice() {
        [] => None,
        [line] => Some(match line.as_slice() {
            [one] => (
                json!({"type": "Point", "coordinates": one}),
                json!(times[0]),
            ),
            line => (
                json!({"type": "LineString", "coordinates": line}),
                json!(times[0]),
            ),
        }),
        lines => Some((
            json!({"type": "MultiLineString", "coordinates": lines}),
            json!(times),
        )),
    };
    let feature = geometry.map(|(geometry, times)| {
        json!({
            "type": "Feature",
            "geometry": geometry,
            "properties": {"player": player, "times": times},
        })
    });
    let features: Vec<_> = feature.into_iter().collect();
    let mut collection = json!({"type": "FeatureCollection", "features": features});
    if let Some(next) = page.next {
        collection["next"] = cursor(next).into();
    }
    collection.to_string()
}

/// A position of a line, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stop {
    lat: f64,
    lon: f64,
    time_ms: u64,
}

/// The points as lines, cut where they cross the antimeridian (RFC 7946 section 3.1.9): half the world
/// in one step is taken for a step the other way round. Both sides of a cut get the position of the
/// crossing, on a straight line in degrees.
fn lines<'a>(points: impl Iterator<Item = Point<'a>>) -> Vec<Vec<Stop>> {
    let mut lines: Vec<Vec<Stop>> = Vec::new();
    for point in points {
        let (lat, lon) = point.degrees();
        let time_ms = point.time_ms;
        let stop = Stop { lat, lon, time_ms };
        let Some(line) = lines.last_mut() else {
            lines.push(vec![stop]);
            continue;
        };
        match line.last().and_then(|last| crossing(*last, stop)) {
            None => line.push(stop),
            Some(edge) => {
                line.push(edge);
                lines.push(vec![
                    Stop {
                        lon: -edge.lon,
                        ..edge
                    },
                    stop,
                ]);
            }
        }
    }
    lines
}

/// Where the antimeridian is met between two positions, on the first one's side; none if it is not.
fn crossing(from: Stop, to: Stop) -> Option<Stop> {
    if (to.lon - from.lon).abs() <= 180.0 {
        return None;
    }
    let edge = 180.0_f64.copysign(from.lon);
    // Round the other way: `to` as seen from `from`'s side.
    let whole = to.lon + 2.0 * edge - from.lon;
    let part = if whole == 0.0 {
        0.0
    } else {
        (edge - from.lon) / whole
    };
    let spent = Duration::from_millis(to.time_ms.saturating_sub(from.time_ms)).mul_f64(part);
    Some(Stop {
        lat: from.lat + (to.lat - from.lat) * part,
        lon: edge,
        time_ms: from.time_ms + u64::try_from(spent.as_millis()).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Query, BadBody> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Query::parse(&pairs.iter().map(owned).collect())
    }

    #[test]
    fn what_is_asked() {
        let all = parse(&[("api_key", "x")]).unwrap();
        assert_eq!((all.from, all.limit), (Place::at(0), PAGE_POINTS_MAX));
        assert_eq!((all.end, all.format), (Place::at(u64::MAX), Format::Json));
        let some = [
            ("from", "5"),
            ("to", "7"),
            ("limit", "2"),
            ("format", "geojson"),
        ];
        let some = parse(&some).unwrap();
        assert_eq!((some.from, some.end), (Place::at(5), Place::at(8)));
        assert_eq!((some.limit, some.format), (2, Format::GeoJson));
        let place = Place {
            time_ms: 6,
            arrival: u64::MAX,
        };
        let next = parse(&[("from", "5"), ("cursor", &cursor(place))]).unwrap();
        assert_eq!(next.from, place);
        for (name, value) in [
            ("from", "x"),
            ("from", "-1"),
            ("to", "1.5"),
            ("limit", "0"),
            ("limit", "1001"),
            ("cursor", ""),
            ("cursor", "+0000000000000010000000000000001"),
            ("format", "kml"),
        ] {
            assert!(parse(&[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "degrees fit")]
    fn page(points: &[(u64, f64, f64)]) -> Walked {
        let mut list = Vec::new();
        for &(time_ms, lat, lon) in points {
            let units = |degrees: f64| (degrees * engine::path::UNITS_PER_DEGREE).round() as i32;
            let (lat_e7, lon_e7) = (units(lat), units(lon));
            let extra = b"";
            Point {
                time_ms,
                lat_e7,
                lon_e7,
                extra,
            }
            .append(&mut list);
        }
        Walked {
            points: list,
            next: None,
        }
    }

    /// Type, coordinates and times.
    fn drawn(points: &[(u64, f64, f64)]) -> serde_json::Value {
        let text = collection("ann", &page(points));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let feature = &value["features"][0];
        json!([
            feature["geometry"]["type"],
            feature["geometry"]["coordinates"],
            feature["properties"]["times"],
        ])
    }

    #[test]
    fn a_line_is_cut_at_the_antimeridian() {
        assert_eq!(drawn(&[]), json!([null, null, null]));
        assert_eq!(
            drawn(&[(5, 1.0, 179.0)]),
            json!(["Point", [179.0, 1.0], [5]])
        );
        let there = [
            (0, 10.0, 179.0),
            (1_000, 14.0, -177.0),
            (2_000, 14.0, -176.0),
        ];
        let wanted = json!([
            "MultiLineString",
            [
                [[179.0, 10.0], [180.0, 11.0]],
                [[-180.0, 11.0], [-177.0, 14.0], [-176.0, 14.0]]
            ],
            [[0, 250], [250, 1_000, 2_000]],
        ]);
        assert_eq!(drawn(&there), wanted);
        // There and back: three lines.
        let back = [(0, 0.0, -179.5), (10, 0.0, 179.5), (20, 0.0, -179.5)];
        let wanted = json!([
            "MultiLineString",
            [
                [[-179.5, 0.0], [-180.0, 0.0]],
                [[180.0, 0.0], [179.5, 0.0], [180.0, 0.0]],
                [[-180.0, 0.0], [-179.5, 0.0]]
            ],
            [[0, 5], [5, 10, 15], [15, 20]],
        ]);
        assert_eq!(drawn(&back), wanted);
        // Half the world is no crossing, nor is the meridian of Greenwich.
        let line = drawn(&[(0, 0.0, -90.0), (1, 0.0, 90.0), (2, 0.0, -1.0)]);
        assert_eq!(line[0], "LineString");
        // From the line itself to its other side.
        let wanted = json!([
            "MultiLineString",
            [[[180.0, 0.0], [180.0, 0.0]], [[-180.0, 0.0], [-180.0, 1.0]]],
            [[0, 0], [0, 1]],
        ]);
        assert_eq!(drawn(&[(0, 0.0, 180.0), (1, 1.0, -180.0)]), wanted);
    }
}
