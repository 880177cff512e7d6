// Tests of whether two groups differ, and the correction for having made many.

const logFactorials = [0]

/** ln(n!), exact sums. */
function logFactorial(n: number): number {
  for (let i = logFactorials.length; i <= n; i++)
    logFactorials.push((logFactorials[i - 1] as number) + Math.log(i))
  return logFactorials[n] as number
}

const logChoose = (n: number, k: number): number => logFactorial(n) - logFactorial(k) - logFactorial(n - k)

/** How many of a group have a property. */
export interface Share {
  count: number
  of: number
}

/**
 * Fisher's exact test, one-sided (Fisher 1922): the probability that, of as many properties dealt out at random, the first group
 * has `first.count` or more. 1 where nothing can be told.
 */
export function fisherExact(first: Share, second: Share): number {
  const total = first.of + second.of
  const having = first.count + second.count
  const most = Math.min(having, first.of)
  const all = logChoose(total, having)
  let p = 0
  for (let k = first.count; k <= most; k++)
    p += Math.exp(logChoose(first.of, k) + logChoose(second.of, having - k) - all)
  return Math.min(1, p)
}

/**
 * The Mann–Whitney U test, two-sided (Mann & Whitney 1947), by the normal approximation with corrections for ties and continuity:
 * the probability of so large a difference in ranks between two samples of one distribution. Good from 8 values a side on; 1 where
 * all values are equal. `superiority`: how often a value of the first exceeds one of the second, ties counting half.
 */
export function mannWhitney(
  first: readonly number[],
  second: readonly number[],
): { p: number; superiority: number } {
  const [m, n] = [first.length, second.length]
  const all = [
    ...first.map((value) => ({ value, isFirst: true })),
    ...second.map((value) => ({ value, isFirst: false })),
  ].sort((a, b) => a.value - b.value)
  let rankSum = 0
  let ties = 0
  for (let from = 0; from < all.length; ) {
    let to = from
    let firsts = 0
    while (to < all.length && all[to]?.value === all[from]?.value) firsts += Number(all[to++]?.isFirst)
    const tied = to - from
    // Ranks from + 1 … to have this average.
    rankSum += firsts * ((from + 1 + to) / 2)
    ties += tied ** 3 - tied
    from = to
  }
  const u = rankSum - (m * (m + 1)) / 2
  const superiority = m * n === 0 ? 0.5 : u / (m * n)
  const total = m + n
  const variance = ((m * n) / 12) * (total + 1 - ties / (total * (total - 1)))
  if (!(variance > 0)) return { p: 1, superiority }
  const z = Math.max(0, Math.abs(u - (m * n) / 2) - 0.5) / Math.sqrt(variance)
  return { p: Math.min(1, 2 * normalTail(z)), superiority }
}

/** P(Z > z) of the standard normal distribution for z ≥ 0, to 12 digits (Abramowitz & Stegun, 26.2.11 and 26.2.14). */
export function normalTail(z: number): number {
  const density = Math.exp(-(z * z) / 2) / Math.sqrt(2 * Math.PI)
  if (z < 3) {
    // The series about 0: the fraction needs many terms there.
    let term = z
    let sum = z
    for (let i = 3; term > sum * 1e-17; i += 2) {
      term *= (z * z) / i
      sum += term
    }
    return 0.5 - density * sum
  }
  let fraction = 0
  for (let i = 100; i > 0; i--) fraction = i / (z + fraction)
  return density / (z + fraction)
}

/**
 * Holm's correction (Holm 1979): p-values such that calling those at most `rate` findings, the probability of even one false one
 * among all is at most `rate`, however the tests depend on each other. In the order of the input.
 */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((_, i) => i).sort((a, b) => (pValues[a] as number) - (pValues[b] as number))
  const corrected: number[] = new Array(pValues.length)
  let least = 0
  for (const [rank, i] of order.entries()) {
    least = Math.max(least, Math.min(1, (pValues.length - rank) * (pValues[i] as number)))
    corrected[i] = least
  }
  return corrected
}
