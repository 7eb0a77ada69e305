//! Sizes as people write and read them: `20G` is 20 * 1024^3 bytes.

/// Units by rising power of 1024.
const UNITS: [(char, u32); 6] = [
    ('K', 10),
    ('M', 20),
    ('G', 30),
    ('T', 40),
    ('P', 50),
    ('E', 60),
];

/// Returns the bytes that a size such as `512M`, `20G`, `1.5T` or `4096` names.
///
/// # Errors
/// When it is no number with at most one unit, or does not fit 64 bits.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write a number with K, M, G or T, such as 20G");
    let upper = text.trim().to_ascii_uppercase();
    let number = upper.strip_suffix("IB").unwrap_or(&upper);
    let (number, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| Some((number.strip_suffix(*unit)?, *shift)))
        .unwrap_or((number, 0));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 3 {
        return Err(wrong());
    }
    let thousandths = format!("{fraction:0<3}");
    let whole = whole.parse::<u64>().ok();
    let part = thousandths.parse::<u64>().ok();
    let bytes = whole.zip(part).and_then(|(whole, part)| {
        let unit = 1_u64 << shift;
        let part = u128::from(unit) * u128::from(part) / 1000;
        whole
            .checked_mul(unit)?
            .checked_add(u64::try_from(part).ok()?)
    });
    bytes.ok_or_else(wrong)
}

/// Returns a size with one digit after the point and its unit: `1.5 GiB`.
#[must_use]
pub fn show(bytes: u64) -> String {
    let unit = UNITS.iter().rev().find(|(_, shift)| bytes >> shift != 0);
    match unit {
        None => format!("{bytes} B"),
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}iB", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("128K", 128 << 10),
            ("128k", 128 << 10),
            ("128KiB", 128 << 10),
            ("20G", 20 << 30),
            ("1.5G", 3 << 29),
            ("0.001K", 1),
            ("15E", 15 << 60),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in [
            "", "G", "-1", "+1", "20GB", "1.2.3G", "1.", "1.2345G", "16E", "ten", "1 2",
        ] {
            assert!(
                parse(text).is_err_and(|e| e.contains("such as 20G")),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes_are_shown_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (20 << 30, "20.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(show(bytes), text);
        }
    }
}
