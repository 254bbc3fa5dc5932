//! Times in a table of contents (eStargz, SOCI): RFC 3339 text to a timestamp.

use peel_erofs::Timestamp;

const DAY: i64 = 86_400;
/// Last second that containerd sets: 2^63 - 1 nanoseconds (its `boundTime`, pkg/archive/time.go).
const LAST: i64 = 9_223_372_036;

/// The time that unpacking gives a file: `text` if it is an RFC 3339 time that containerd would set, else 1970
/// (an unknown time, one before 1970, one after 2262).
pub(crate) fn modification_time(text: &str) -> Timestamp {
    let time = parse(text.as_bytes()).unwrap_or_default();
    settable(time.seconds, time.nanoseconds.into())
}

/// The time that unpacking gives a file whose entry has this one (nanoseconds may be negative, more than -10^9 and less
/// than 10^9): 1970 for one before that year, and for one after 2262.
pub(crate) fn settable(seconds: i64, nanoseconds: i64) -> Timestamp {
    let carry = i64::from(nanoseconds < 0);
    let seconds = seconds.checked_sub(carry).filter(|seconds| (0..=LAST).contains(seconds));
    let nanoseconds = u32::try_from(nanoseconds + carry * 1_000_000_000).ok();
    let time = seconds.zip(nanoseconds);
    time.map(|(seconds, nanoseconds)| Timestamp { seconds, nanoseconds }).unwrap_or_default()
}

/// `2023-11-14T22:13:20Z`, with a fraction and an offset if there are.
fn parse(text: &[u8]) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, byte)| date[at] != byte) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| number(&date[range]);
    let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
    let (hour, minute, second) = (part(11..13)?, part(14..16)?, part(17..19)?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanoseconds, zone) = fraction(rest)?;
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
    Some(Timestamp { seconds, nanoseconds })
}

/// `.5`: nanoseconds and the rest; further digits are cut.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else { return Some((0, text)) };
    let count = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at(count);
    if count == 0 {
        return None;
    }
    let nine = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    Some((nine.fold(0, |value, digit| value * 10 + u32::from(digit - b'0')), rest))
}

/// `Z`, `+01:00`: seconds east of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, hour, minute) = match text {
        b"Z" => return Some(0),
        [b'+', hour @ .., b':', _, _] => (1, hour, &text[4..]),
        [b'-', hour @ .., b':', _, _] => (-1, hour, &text[4..]),
        _ => return None,
    };
    let (hour, minute) = (number(hour).filter(|_| hour.len() == 2)?, number(minute)?);
    (hour <= 24 && minute < 60).then_some(sign * (hour * 3600 + minute * 60))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leaps = year / 4 - year / 100 + year / 400;
    // 306 days from March to the end of the year; 719,468 from the calendar's begin to 1970.
    year * 365 + leaps + (month * 306 + 5) / 10 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds, nanoseconds) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2023-11-14T22:13:20Z", 1_700_000_000, 0),
            ("2000-02-29T12:00:00Z", 951_825_600, 0),
            ("2000-03-01T00:00:00.25Z", 951_868_800, 250_000_000),
            ("2023-11-14T23:13:20.0000000019+01:00", 1_700_000_000, 1),
            ("2023-11-14T14:43:20-07:30", 1_700_000_000, 0),
            ("2262-04-11T23:47:16Z", LAST, 0),
        ] {
            assert_eq!(modification_time(text), Timestamp { seconds, nanoseconds }, "{text}");
        }
    }

    #[test]
    fn unknown_and_impossible_times_are_1970() {
        for text in [
            "",
            "now",
            "1969-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "2262-04-11T23:47:17Z",
            "2023-02-29T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:13:20",
            "2023-11-14 22:13:20Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20+1:00",
            "2023-11-14T22:13:20+",
            "2023-1é-14T22:13:20Z",
        ] {
            assert_eq!(modification_time(text), Timestamp::default(), "{text}");
        }
    }
}
