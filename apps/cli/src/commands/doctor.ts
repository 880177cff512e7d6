import { present } from '@stepwell/query'
import type { Check } from '../checks/check.ts'
import { checkPostgres } from '../checks/postgres-checks.ts'
import { checkRedis } from '../checks/redis-checks.ts'
import { checkReplica } from '../checks/replica-checks.ts'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { EXIT_DONE, EXIT_FAILED, explainError, UsageError } from '../errors.ts'
import { counted } from '../format.ts'
import { plain } from '../terminal.ts'

const MARKS = { ok: '✓', warn: '!', fail: '✗' } as const
const STYLES = { ok: 'green', warn: 'yellow', fail: 'red' } as const

/** Looks at everything that storing traces rests on, and says what to do. Resolves with the exit code: failed if a check failed. */
export async function doctor(context: CommandContext, { json }: { json?: boolean }): Promise<number> {
  const { connections, env } = context
  const checks: Check[] = []
  await gather(checks, 'redis', async () => checkRedis(await connections.redis(), env))
  await gather(checks, 'postgres', async () => {
    const redis = await connections.redisIfSet().catch(() => undefined)
    const redisNowMs = redis && (async () => clockOf(await redis.time()))
    return checkPostgres(connections.database(), redisNowMs)
  })
  const replica = connections.replicaIfSet()
  if (replica !== undefined)
    await gather(checks, 'postgres', () => checkReplica(replica, connections.database()), 'replica')
  const failed = checks.filter((check) => check.status === 'fail').length
  if (json) {
    await writeJson(context, {
      ok: failed === 0,
      checks: checks.map(({ area, name, status, found, advice }) =>
        present({ area, name, status, found, advice }),
      ),
    })
  } else await writeLines(context, linesOf(checks, context))
  return failed === 0 ? EXIT_DONE : EXIT_FAILED
}

/** What cannot be reached is a check that failed; the others go on. */
async function gather(
  checks: Check[],
  area: Check['area'],
  look: () => Promise<Check[]>,
  name = 'reachable',
): Promise<void> {
  try {
    checks.push(...(await look()))
  } catch (error) {
    if (error instanceof UsageError) throw error
    const variable =
      area === 'redis' ? 'REDIS_URL' : name === 'replica' ? 'DATABASE_REPLICA_URL' : 'DATABASE_URL'
    const server = area === 'redis' ? 'Redis' : name === 'replica' ? 'the replica' : 'Postgres'
    const advice = `look at ${variable}, and whether ${server} runs`
    checks.push({ area, name, status: 'fail', found: explainError(error).message, advice })
  }
}

const clockOf = ([seconds, micros]: readonly (number | string)[]): number =>
  Number(seconds) * 1_000 + Number(micros) / 1_000

function linesOf(checks: readonly Check[], { terminal }: CommandContext): string[] {
  const { paint } = terminal
  const width = Math.max(...checks.map((check) => check.name.length))
  const lines: string[] = []
  for (const [area, some] of Map.groupBy(checks, (check) => check.area)) {
    lines.push(paint('bold', { redis: 'Redis', postgres: 'Postgres', workers: 'Workers' }[area]))
    for (const { name, status, found, advice } of some) {
      lines.push(`  ${paint(STYLES[status], MARKS[status])} ${name.padEnd(width)}  ${plain(found)}`)
      if (advice !== undefined)
        lines.push(`    ${' '.repeat(width)}  ${paint(STYLES[status], `→ ${advice}`)}`)
    }
  }
  const bad = checks.filter((check) => check.status !== 'ok').length
  lines.push(bad === 0 ? paint('green', 'everything is well') : `${counted(bad, 'thing')} to look at`)
  return lines
}
