//! Numbers as ECMAScript prints them (ECMA-262, `Number::toString` with radix 10).

/// Appends what `JSON.stringify` prints for a number: shortest digits that read back the same, plain up to
/// 21 digits before the point and 6 zeros after it, `null` for what is not finite.
pub(super) fn print(value: f64, out: &mut String) {
    if !value.is_finite() {
        out.push_str("null");
        return;
    }
    if value == 0.0 {
        out.push('0');
        return;
    }
    if value < 0.0 {
        out.push('-');
    }
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("LowerExp always prints an exponent");
    let digits = mantissa.replace('.', "");
    let point = exponent.parse::<i32>().expect("LowerExp prints a decimal exponent") + 1;
    place_point(&digits, point, out);
}

/// Writes `0.digits × 10^point` in the notation that ECMAScript chooses.
fn place_point(digits: &str, point: i32, out: &mut String) {
    let count = i32::try_from(digits.len()).expect("an f64 has at most 17 significant digits");
    let (whole, fraction) = digits.split_at(usize::try_from(point.clamp(0, count)).unwrap_or(0));
    match point {
        point if point > 21 || point <= -6 => {
            let (first, rest) = digits.split_at(1);
            out.push_str(first);
            if !rest.is_empty() {
                out.push('.');
                out.push_str(rest);
            }
            out.push_str(if point > 0 { "e+" } else { "e-" });
            out.push_str(&(point - 1).abs().to_string());
        }
        point if point >= count => {
            out.push_str(digits);
            out.extend((count..point).map(|_| '0'));
        }
        point if point > 0 => {
            out.push_str(whole);
            out.push('.');
            out.push_str(fraction);
        }
        point => {
            out.push_str("0.");
            out.extend((point..0).map(|_| '0'));
            out.push_str(digits);
        }
    }
}
