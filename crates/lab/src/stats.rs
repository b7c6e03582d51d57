//! The little statistics the lab needs: is an observed split what the weights promise?

/// Probability that a fair split with these `weights` looks at least as uneven as `observed`
/// (Pearson's chi-squared goodness of fit). 1.0 when there is nothing to compare.
pub fn split_probability(observed: &[u64], weights: &[u64]) -> f64 {
    let (total, weight_total) = (sum(observed), sum(weights));
    if total == 0.0 || weight_total == 0.0 || observed.len() < 2 || observed.len() != weights.len() {
        return 1.0;
    }
    let chi2: f64 = observed
        .iter()
        .zip(weights)
        .map(|(&seen, &weight)| {
            let expected = total * weight as f64 / weight_total;
            (seen as f64 - expected).powi(2) / expected.max(f64::MIN_POSITIVE)
        })
        .sum();
    chi2_survival(chi2, (observed.len() - 1) as f64)
}

fn sum(values: &[u64]) -> f64 {
    values.iter().map(|v| *v as f64).sum()
}

/// P(X ≥ x) of the chi-squared distribution: the regularised upper incomplete gamma function
/// Q(k/2, x/2), by series below and continued fraction above the mode (Numerical Recipes §6.2).
pub fn chi2_survival(x: f64, degrees: f64) -> f64 {
    let (a, x) = (degrees / 2.0, x / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    if x < a + 1.0 { 1.0 - gamma_series(a, x) } else { gamma_fraction(a, x) }
}

/// Enough for full precision at any argument the lab can produce.
const TERMS_MAX: u32 = 500;

fn gamma_series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
    for _ in 0..TERMS_MAX {
        n += 1.0;
        term *= x / n;
        sum += term;
        if term.abs() < sum.abs() * 1e-15 {
            break;
        }
    }
    sum * (a * x.ln() - x - ln_gamma(a)).exp()
}

fn gamma_fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut h = d;
    for i in 1..=TERMS_MAX {
        let an = -f64::from(i) * (f64::from(i) - a);
        b += 2.0;
        d = 1.0 / nonzero(an * d + b, TINY);
        c = nonzero(b + an / c, TINY);
        let delta = d * c;
        h *= delta;
        if (delta - 1.0).abs() < 1e-15 {
            break;
        }
    }
    h * (a * x.ln() - x - ln_gamma(a)).exp()
}

fn nonzero(x: f64, tiny: f64) -> f64 {
    if x.abs() < tiny { tiny } else { x }
}

/// ln Γ(x) by Lanczos' approximation.
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 6] = [
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.120_865_097_386_617_9e-2,
        -0.539_523_938_495_3e-5,
    ];
    let t = x + 5.5;
    let t = t - (x + 0.5) * t.ln();
    let mut y = x;
    let series = COEFFICIENTS.iter().fold(1.000_000_000_190_015, |acc, c| {
        y += 1.0;
        acc + c / y
    });
    -t + (2.506_628_274_631_000_5 * series / x).ln()
}

/// A small seeded generator (splitmix64): the same seed gives the same run.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low).saturating_add(1);
        low + self.next_u64() % span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn survival_matches_the_printed_tables() {
        for (x, k, p) in [
            (3.841_46, 1.0, 0.05),
            (10.827_57, 1.0, 0.001),
            (5.991_46, 2.0, 0.05),
            (13.815_51, 2.0, 0.001),
            (0.0, 1.0, 1.0),
            (0.454_94, 1.0, 0.5),
            (18.307, 10.0, 0.05),
        ] {
            assert!(close(chi2_survival(x, k), p), "chi2({x}, {k}) = {}", chi2_survival(x, k));
        }
    }

    #[test]
    fn a_fair_split_passes_and_an_unfair_one_does_not() {
        assert!(split_probability(&[1800, 1200], &[3, 2]) > 0.99);
        assert!(split_probability(&[1860, 1140], &[3, 2]) > 0.001);
        assert!(split_probability(&[1500, 1500], &[3, 2]) < 1e-9);
        assert!(split_probability(&[1500, 1000, 500], &[3, 2, 1]) > 0.99);
        assert!(split_probability(&[0, 0], &[3, 2]) > 0.99);
    }

    #[test]
    fn the_generator_stays_in_its_range_and_repeats() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        for _ in 0..1000 {
            let n = a.between(5, 9);
            assert!((5..=9).contains(&n));
            assert_eq!(n, b.between(5, 9));
        }
    }
}
