//! A curve of the last ten minutes, as SVG in the page. Its words stand beside it, so that they are not drawn out of shape.

use super::history::SAMPLES;
use super::text::Text;

const WIDTH: u64 = 600;
const HEIGHT: u64 = 100;

/// Draws curves over each other, each with its class; the right end is now, the upper one `most`. `label` says what there is to be seen.
pub fn chart(out: &mut Text, label: &str, curves: &[(&str, &[u64])], most: u64) {
    out.add("<svg viewBox=\"0 0 600 100\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
    out.escaped(label)
        .add("\"><path class=\"grid\" d=\"M0 25H600M0 50H600M0 75H600\"/>");
    for (class, values) in curves {
        let values = &values[values.len().saturating_sub(SAMPLES)..];
        let Some(step) = (SAMPLES - 1).checked_sub(values.len().saturating_sub(1)) else {
            continue;
        };
        let x = |index: usize| (step + index) as u64 * WIDTH / (SAMPLES as u64 - 1);
        // The line, and for one that is filled the area below it.
        out.add("<path class=\"").add(class).add("\" d=\"");
        for (index, &value) in values.iter().enumerate() {
            let height = (value.min(most) * (HEIGHT - 2)).checked_div(most).unwrap_or(0);
            out.add(if index == 0 { "M" } else { "L" }).number(x(index));
            out.add(" ").number(HEIGHT - 1 - height);
        }
        if *class == "area" && !values.is_empty() {
            out.add("V100H").number(x(0)).add("Z");
        }
        out.add("\"/>");
    }
    out.add("</svg>");
}

/// The least round number (1, 2 or 5 and zeros) that is not less than this.
pub fn round_up(value: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for times in [1, 2, 5] {
            match unit.checked_mul(times) {
                Some(round) if round >= value => return round,
                Some(_) => {}
                None => return u64::MAX,
            }
        }
        unit = unit.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_ends_in_a_round_number() {
        for (value, expected) in [
            (0, 1),
            (1, 1),
            (3, 5),
            (10, 10),
            (11, 20),
            (4999, 5000),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(round_up(value), expected);
        }
    }

    #[test]
    fn a_curve_ends_now_and_at_the_top() {
        let mut out = Text::default();
        chart(&mut out, "a & b", &[("area", &[0, 50, 100]), ("line", &[])], 100);
        assert!(out.0.contains("aria-label=\"a &amp; b\""), "{}", out.0);
        assert!(out.0.contains("d=\"M589 99L594 50L600 1V100H589Z\""), "{}", out.0);
        let full = [7; 500];
        let mut out = Text::default();
        chart(&mut out, "", &[("line", &full)], 0);
        assert!(out.0.contains("d=\"M0 99L5 99"), "{}", out.0);
    }
}
