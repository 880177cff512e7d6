import { logChoose, normalTail } from './significance.ts'

/** Values that are equal. */
interface Tied {
  /** How far their rank is from the middle one. */
  rank: number
  count: number
  /** How many of them are of the first sample. */
  firsts: number
}

/** Fewer unusual values than this, expected in the smaller sample, say nothing by their ranks. */
const UNUSUAL_MIN = 1
/** Above this the normal distribution is good enough for whatever is concluded of it. */
const LARGE_P = 0.1

/**
 * The Mann–Whitney U test, two-sided (Mann & Whitney 1947): the probability of so large a difference in ranks between two samples of
 * one distribution, corrected for ties and continuity. Good from 8 values a side on, far out in the tails too. 1 where all values are equal, or all
 * but so few that the smaller sample is to have none: whether it has one is a question of shares. `superiority`: how often a value of the first exceeds one of the
 * second, ties counting half.
 */
export function mannWhitney(
  first: readonly number[],
  second: readonly number[],
): { p: number; superiority: number } {
  const [m, n] = [first.length, second.length]
  const [firsts, seconds] = [new Float64Array(first).sort(), new Float64Array(second).sort()]
  const { sum, square, usual, ...steps } = rankSums(firsts, seconds)
  const superiority = m * n === 0 ? 0.5 : 0.5 + sum / (m * n)
  if (m * n === 0 || Math.min(m, n) * (1 - usual / (m + n)) < UNUSUAL_MIN) return { p: 1, superiority }
  const deviation = Math.max(0, Math.abs(sum) - (sum > 0 ? steps.down : steps.up) / 2)
  const p = 2 * normalTail(deviation / Math.sqrt((m * n * square) / ((m + n) * (m + n - 1))))
  if (p >= LARGE_P) return { p: Math.min(1, p), superiority }
  const tied = [...tiedValues(firsts, seconds)]
  // Of the sample whose ranks are the high ones.
  const high = sum > 0 ? tied : tied.map((one) => ({ ...one, rank: -one.rank })).reverse()
  return { p: Math.min(1, 2 * rankTail(high, m, n, deviation)), superiority }
}

interface RankSums {
  /** Of the ranks of the first sample, and of the squares of all ranks. */
  sum: number
  square: number
  /** How many have the value that most have. */
  usual: number
  /**
   * What the sum of ranks changes by at least if one value of the first sample changes places with the next lower one of the second; with the next higher
   * one.
   */
  down: number
  up: number
}

function rankSums(firsts: Float64Array, seconds: Float64Array): RankSums {
  let [sum, square, usual] = [0, 0, 0]
  let [down, up] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  let lower: Tied | undefined
  for (const one of tiedValues(firsts, seconds)) {
    sum += one.firsts * one.rank
    square += one.count * one.rank * one.rank
    usual = Math.max(usual, one.count)
    if (lower !== undefined) {
      const step = one.rank - lower.rank
      if (lower.firsts < lower.count && one.firsts > 0) down = Math.min(down, step)
      if (one.firsts < one.count && lower.firsts > 0) up = Math.min(up, step)
    }
    lower = one
  }
  return { sum, square, usual, down, up }
}

/** The values of two samples in ascending order, equal ones together. */
function* tiedValues(firsts: Float64Array, seconds: Float64Array): Generator<Tied> {
  const middle = (firsts.length + seconds.length + 1) / 2
  for (let i = 0, k = 0; i < firsts.length || k < seconds.length; ) {
    const value = Math.min(firsts[i] ?? Infinity, seconds[k] ?? Infinity)
    const [fromI, fromK] = [i, k]
    while (i < firsts.length && firsts[i] === value) i++
    while (k < seconds.length && seconds[k] === value) k++
    // Ranks from … + 1 to … have their average.
    const rank = (fromI + fromK + 1 + i + k) / 2 - middle
    yield { rank, count: i + k - fromI - fromK, firsts: i - fromI }
  }
}

/**
 * The probability that `m` of all values, drawn at random, have ranks that add up to `least` or more: the double saddlepoint approximation
 * (Robinson 1982, Skovgaard 1987, in the form of Barndorff-Nielsen). The normal distribution is far too small there where most values are equal
 * and one sample is small: of 100 questions at a rate of 0.05 20 had a false finding.
 */
function rankTail(tied: readonly Tied[], m: number, n: number, least: number): number {
  if (isUtmost(tied, m)) return utmostTail(tied, m, n)
  const share = m / (m + n)
  const odds = Math.log(share / (1 - share))
  const scale = Math.sqrt(tied.reduce((sum, { rank, count }) => sum + count * rank * rank, 0) / (m + n))
  const scaled = tied.map(({ rank, count }) => ({ x: rank / scale, count }))
  let lowest = tilted(scaled, odds, 0, m, least / scale)
  // Newton's method, by half steps where a whole one leads up: far from the lowest point it can.
  for (let step = 1; step > 1e-9; ) {
    const { a, t, byA, byT, byAA, byAT, byTT } = lowest
    const determinant = byAA * byTT - byAT * byAT
    const [toA, toT] = [(byT * byAT - byA * byTT) / determinant, (byA * byAT - byT * byAA) / determinant]
    if (-(byA * toA + byT * toT) < 1e-10) break
    const next = tilted(scaled, a + step * toA, t + step * toT, m, least / scale)
    if (next.height < lowest.height) [lowest, step] = [next, 1]
    else step /= 2
  }
  const { height, t, byAA, byAT, byTT } = lowest
  const r = Math.sqrt(2 * ((m + n) * logOnePlusExp(odds) - odds * m - height))
  const v = t * Math.sqrt((byAA * byTT - byAT * byAT) / ((m + n) * share * (1 - share)))
  return normalTail(Math.max(0, r + Math.log(v / r) / r))
}

/** A point of the function whose lowest point is sought, with its derivatives by a and by t. */
interface Point {
  a: number
  t: number
  height: number
  byA: number
  byT: number
  byAA: number
  byAT: number
  byTT: number
}

/** Where each value is drawn with the odds e^(a + t x). Lowest where `m` values are drawn that add up to `least`, on average. */
function tilted(
  values: readonly { x: number; count: number }[],
  a: number,
  t: number,
  m: number,
  least: number,
): Point {
  const point = { a, t, height: -a * m - t * least, byA: -m, byT: -least, byAA: 0, byAT: 0, byTT: 0 }
  for (const { x, count } of values) {
    const p = 1 / (1 + Math.exp(-a - t * x))
    const variance = count * p * (1 - p)
    point.height += count * logOnePlusExp(a + t * x)
    point.byA += count * p
    point.byT += count * p * x
    point.byAA += variance
    point.byAT += variance * x
    point.byTT += variance * x * x
  }
  return point
}

/** Whether no value of the second sample exceeds one of the first. */
function isUtmost(tied: readonly Tied[], m: number): boolean {
  let left = m
  for (const { count, firsts } of tied.toReversed()) {
    left -= firsts
    if (firsts < count) return left === 0
  }
  return true
}

/** The probability of that: the values are told apart only where both samples have the last of them. */
function utmostTail(tied: readonly Tied[], m: number, n: number): number {
  const last = tied.find(({ firsts }) => firsts > 0) as Tied
  return Math.exp(logChoose(last.count, last.firsts) - logChoose(m + n, m))
}

const logOnePlusExp = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
