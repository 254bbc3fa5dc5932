//! Numbers and strings in headers, as Go's archive/tar parses them (strconv.go).

use super::super::TarProblem;

/// Up to the first NUL.
pub(super) fn string(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Base-256 if the first bit is set, else octal.
pub(super) fn numeric(field: &[u8]) -> Result<i64, TarProblem> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => binary(field),
        _ => octal(field),
    }
}

/// Digits between any blanks and NULs; nothing is 0.
pub(super) fn octal(field: &[u8]) -> Result<i64, TarProblem> {
    const BAD: TarProblem = TarProblem::Header("a number in its header is not octal");
    let blank = |byte: &&u8| matches!(byte, b' ' | 0);
    let start = field.iter().take_while(blank).count();
    let end = field.len() - field.iter().rev().take_while(blank).count();
    let digits = string(field.get(start..end).unwrap_or_default());
    digits.iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8).map(|value| value + i64::from(digit - b'0')).ok_or(BAD),
        _ => Err(BAD),
    })
}

/// Two's complement, big-endian, without the first bit, which says that it is one.
fn binary(field: &[u8]) -> Result<i64, TarProblem> {
    const BAD: TarProblem = TarProblem::Header("a number in its header has more than 63 bits");
    let negative = field.first().is_some_and(|first| first & 0x40 != 0);
    let invert = if negative { 0xff } else { 0 };
    let mut value = 0u64;
    for (at, byte) in field.iter().enumerate() {
        let byte = (byte ^ invert) & if at == 0 { 0x7f } else { 0xff };
        if value >> 56 > 0 {
            return Err(BAD);
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).map_err(|_| BAD)?;
    Ok(if negative { !value } else { value })
}

/// A decimal number of a PAX record or a sparse map, with or without sign.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A PAX time: seconds, and nanoseconds of the same sign.
pub(super) fn time(text: &[u8]) -> Option<(i64, i64)> {
    let dot = text.iter().position(|&byte| byte == b'.');
    let (seconds, fraction) = match dot {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let whole = decimal(seconds)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nine = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = nine.fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((whole, if seconds.starts_with(b"-") { -nanoseconds } else { nanoseconds }))
}
