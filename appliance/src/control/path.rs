//! `GET /api/players/{id}/path`: where a player has been, page by page, as JSON or GeoJSON (RFC 7946).
//!
//! The journal reads the page; this file says what was asked and writes what was found. Times are
//! milliseconds since 1970. `docs/positions.md` has the whole of it.

use std::collections::HashMap;

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
    let (mut line, mut times) = (Vec::new(), Vec::new());
    for point in Point::list(&page.points) {
        let (lat, lon) = point.degrees();
        line.push([lon, lat]);
        times.push(point.time_ms);
    }
    let geometry = match line.as_slice() {
        [] => None,
        [one] => Some(json!({"type": "Point", "coordinates": one})),
        line => Some(json!({"type": "LineString", "coordinates": line})),
    };
    let feature = geometry.map(|geometry| {
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
}
