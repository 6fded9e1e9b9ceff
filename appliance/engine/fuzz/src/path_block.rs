//! Any bytes as a block of a path: points or an error, never more points than its head says, none longer
//! than a point may be; what was read is written and read again. And any bytes as points, which come back.

use engine::path::block::{self, Head, POINTS_MAX, Placed};
use engine::path::{EXTRA_BYTES_MAX, Place, Point};

/// A point that owns what it says.
type Said = (Place, i32, i32, Vec<u8>);

/// The bytes are a block's value, whose last point is at a place that no clock has.
pub fn run(data: &[u8]) {
    let last = Place {
        time_ms: 1 << 41,
        arrival: 1 << 50,
    };
    if let Ok((head, body)) = Head::take(data) {
        let mut said = read(head, last, body);
        said.sort();
        round_trip(&said);
    }
    round_trip(&points(data));
}

fn read(head: Head, last: Place, body: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    let whole = block::decode(head, last, body, &mut |Placed { place, point }| {
        assert!(point.extra.len() <= EXTRA_BYTES_MAX && point.time_ms == place.time_ms);
        said.push((place, point.lat_e7, point.lon_e7, point.extra.to_vec()));
        true
    });
    assert!(said.len() <= head.count && (whole.is_err() || said.len() == head.count));
    said
}

/// Points of few bytes each: steps of time and place, and some text behind.
fn points(data: &[u8]) -> Vec<Said> {
    let mut place = Place {
        time_ms: 1_700_000_000_000,
        arrival: 1,
    };
    let (mut lat, mut lon) = (525_000_000_i32, 134_000_000_i32);
    let mut said = Vec::new();
    let mut rest = data;
    while let [time, north, east, length, behind @ ..] = rest {
        place.time_ms = place
            .time_ms
            .wrapping_add(u64::from(*time) << (length >> 4));
        place.arrival += 1 + u64::from(time & 1) * 1_000;
        lat = lat.wrapping_add(i32::from(north.cast_signed()) << (length & 15));
        lon = lon.wrapping_add(i32::from(east.cast_signed()) * 100);
        let (extra, behind) = behind.split_at(behind.len().min(usize::from(length & 31)));
        said.push((place, lat, lon, extra.to_vec()));
        rest = behind;
    }
    said.sort();
    said.truncate(POINTS_MAX);
    said
}

/// `said` is in the order of its places.
fn round_trip(said: &[Said]) {
    let placed = |said: &Said| (said.0, said.1, said.2);
    let points: Vec<Placed<'_>> = said
        .iter()
        .map(|said| {
            let (place, lat_e7, lon_e7) = placed(said);
            let (time_ms, extra) = (place.time_ms, &said.3[..]);
            let point = Point {
                time_ms,
                lat_e7,
                lon_e7,
                extra,
            };
            Placed { place, point }
        })
        .collect();
    let Some(last) = points.last() else {
        return;
    };
    let (mut value, mut body) = (Vec::new(), Vec::new());
    Head::of(&points).append(&mut value);
    block::encode(&points, &mut body);
    let (head, rest) = Head::take(&value).expect("a head that was written");
    assert!(rest.is_empty());
    assert_eq!(read(head, last.place, &body), said);
}
