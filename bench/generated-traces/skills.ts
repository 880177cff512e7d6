import { seededRandom } from '../../tests/faults/seeded-random.ts'

/** What the runs of a skill look like. */
export interface Skill {
  name: string
  steps: SkillStep[]
}

/** One of its steps: how long it commonly takes, and how often it fails. */
export interface SkillStep {
  name: string
  medianMs: number
  /** 0 to 0.03. */
  failureRate: number
  /** Whether it is a call of a model, with attributes. */
  isModelCall: boolean
}

const VERBS = ['load', 'build', 'push', 'fetch', 'parse', 'plan', 'act', 'verify', 'index', 'notify']
const NOUNS = ['config', 'image', 'layers', 'page', 'ticket', 'answer', 'tests', 'report', 'cache', 'model']

/** Skills of 3 to 25 steps; the same for the same count. */
export function makeSkills(count: number): Skill[] {
  const random = seededRandom(count)
  return Array.from({ length: count }, (_, i) => ({
    name: `${pick(VERBS, random)}-${pick(NOUNS, random)}-${i}`,
    // Few have many.
    steps: Array.from({ length: 3 + Math.floor(22 * random() ** 2) }, (_, k) => ({
      name: `${pick(VERBS, random)}-${pick(NOUNS, random)}-${k}`,
      medianMs: 2 * 1_000 ** random(),
      failureRate: 0.03 * random() ** 2,
      isModelCall: random() < 0.1,
    })),
  }))
}

const PATTERNS: ((part: string, n: number) => string)[] = [
  (part, n) => `connect ECONNREFUSED 10.${n % 256}.${(n >> 8) % 256}.7:${5000 + (n % 900)} (${part})`,
  (part, n) => `timeout of ${n}ms exceeded while waiting for ${part}`,
  (part, n) =>
    `Request failed with status code ${400 + (n % 120)} for https://api.example.com/v1/${part}/${n}`,
  (part, n) => `Cannot read properties of undefined (reading '${part}') at line ${n}`,
  (part, n) => `rate limit reached for ${part}: limit ${n}, retry after ${n % 60}s`,
  (part, n) => `duplicate key value violates unique constraint "${part}_pkey": (id)=(${n})`,
  (part, n) => `no space left on device: /var/lib/${part}/${n}.tmp`,
  (part, n) => `assertion failed: expected ${n} items of ${part}, got ${n % 13}`,
  (part, n) => `context length exceeded: ${n} tokens in ${part}`,
  (part, n) => `job ${part}-${n.toString(16)} was killed: out of memory`,
]

/** So many different error messages; the same for the same count. Of some hundred kinds, each with variable parts. */
export function makeMessages(count: number): string[] {
  const random = seededRandom(count + 1)
  const messages = new Set<string>()
  while (messages.size < count) {
    const part = `${pick(VERBS, random)}-${pick(NOUNS, random)}`
    messages.add(pick(PATTERNS, random)(part, Math.floor(random() * 1e6)))
  }
  return [...messages]
}

/** A rank from 0 on, of `count`: each is taken about in inverse proportion to its place (Zipf). */
export const zipf = (count: number, random: () => number): number => Math.floor(count ** random()) - 1

/** A duration around the median: log-normal, so that a few take very long. */
export function longTailed(medianMs: number, random: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return Math.round(medianMs * Math.exp(0.9 * normal) * 1_000) / 1_000
}

/** One of the list. */
export const pick = <T>(list: readonly T[], random: () => number): T =>
  list[Math.floor(random() * list.length)] as T
