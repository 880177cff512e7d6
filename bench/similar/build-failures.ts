import { once } from 'node:events'
import { addMonths, monthOf, partitionName } from '@stepwell/protocol'
import {
  ensurePartitions,
  FailureCatalogue,
  messageMarks,
  openDatabase,
  rebuildRollups,
  regroupFailures,
} from '@stepwell/storage'
import { from as copyFrom } from 'pg-copy-streams'
import { seededRandom } from '../../tests/faults/seeded-random.ts'
import { makeMessages, makeSkills, zipf } from '../generated-traces/skills.ts'
import { SKILLS } from './questions.ts'

/** How much to build. */
export interface FailuresOptions {
  failures: number
  /** Different messages among them. */
  messages: number
  days: number
}

const DAY_MS = 86_400_000
const BATCH = 10_000
const COLUMNS =
  'trace_id, started_at, completed_at, total_duration_ms, ingested_at, step_count, skill_name, status, error_message, steps, error_signature, failure_pattern, failed_step'

/**
 * Failed traces with all they are found by, straight into Postgres: evenly over the days until now, of 200 skills, messages as often as
 * their rank has it (Zipf). The same for the same options and time. Gives the messages, the most frequent first.
 */
export async function buildFailures(
  databaseUrl: string,
  nowMs: number,
  { failures, messages: count, days }: FailuresOptions,
): Promise<string[]> {
  const database = openDatabase(databaseUrl)
  const random = seededRandom(failures)
  const messages = makeMessages(count)
  const marks = messages.map(messageMarks)
  const skills = makeSkills(SKILLS)
  const sinceMs = nowMs - days * DAY_MS
  const catalogue = new FailureCatalogue(database)
  const client = await database.pool.connect()
  try {
    for (
      let month = monthOf(sinceMs);
      partitionName(month) <= partitionName(monthOf(nowMs));
      month = addMonths(month, 1)
    )
      await ensurePartitions(database, [month])
    for (let from = 0; from < failures; from += BATCH) {
      const lines: string[] = []
      const occurrences = Array.from({ length: Math.min(BATCH, failures - from) }, (_, k) => {
        // Each once at least.
        const i = from + k
        const rank = i % 10 === 0 ? (i / 10) % count : zipf(count, random)
        const startedAtMs = Math.floor(sinceMs + ((nowMs - sinceMs) * i) / failures)
        const skill = skills[zipf(skills.length, random)] as (typeof skills)[0]
        const step = skill.steps[Math.floor(random() * skill.steps.length)]?.name as string
        const at = new Date(startedAtMs).toISOString()
        const { signature, patternId } = marks[rank] as (typeof marks)[0]
        const message = messages[rank] as string
        lines.push(
          [traceIdAt(startedAtMs, random), at, at, 0, at, 1, skill.name, 'failed', message].join('\t'),
          `\t${JSON.stringify([[1, step, 0, 0, 1, message]]).replaceAll('\\', '\\\\')}`,
          `\t${signature}\t${patternId}\t${step}\n`,
        )
        return { marks: marks[rank] as (typeof marks)[0], startedAtMs }
      })
      await catalogue.enter(occurrences, nowMs)
      const stream = client.query(copyFrom(`copy execution_traces (${COLUMNS}) from stdin`))
      stream.end(lines.join(''))
      await once(stream, 'finish')
    }
    await regroupFailures(database)
    await rebuildRollups(database)
    await client.query('vacuum (analyze) execution_rollup_overviews')
    await client.query('vacuum (analyze) execution_traces')
    await client.query('vacuum (analyze) failure_signatures')
    await client.query('vacuum (analyze) failure_patterns')
  } finally {
    client.release()
    await database.close()
  }
  return messages
}

function traceIdAt(ms: number, random: () => number): string {
  const time = ms.toString(16).padStart(12, '0')
  const digits = (count: number): string =>
    Math.floor(random() * 16 ** count)
      .toString(16)
      .padStart(count, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${digits(3)}-8${digits(3)}-${digits(12)}`
}
