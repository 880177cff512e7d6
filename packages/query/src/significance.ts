// Tests of whether two groups differ, and the correction for having made many.

const logFactorials = [0]

/** ln(n!), exact sums. */
function logFactorial(n: number): number {
  for (let i = logFactorials.length; i <= n; i++)
    logFactorials.push((logFactorials[i - 1] as number) + Math.log(i))
  return logFactorials[n] as number
}

/** ln(n! / (k! (n − k)!)). */
export const logChoose = (n: number, k: number): number =>
  logFactorial(n) - logFactorial(k) - logFactorial(n - k)

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
