import { createReadStream } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { GROUP, parseTraceId, replyFields, shardKeys } from '@stepwell/protocol'
import { decodeFrame } from '@stepwell/protocol/schema'
import { listDeadLetters, totalNotKept } from '@stepwell/storage'
import { BoundedEntries, passedOverNote } from '../bounded-entries.ts'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import type { Environment } from '../config.ts'
import type { RedisLike } from '../connections.ts'
import { EXIT_DONE, EXIT_FAILED, Failure } from '../errors.ts'
import { counted } from '../format.ts'
import { linesOf } from '../lines.ts'

const LINE_MAX_BYTES = 1 << 24
const ENTRIES_A_READ = 200
const IDS_A_QUERY = 1_000
const LETTERS_A_PAGE = 200
/** Of the lost ones, on a terminal. */
const TOLD_MAX = 20

/** Where the traces of an audit are. Each is in one place: the first of these that has it. */
export interface Audit {
  emitted: number
  stored: number
  /** Of the stored ones: those that run. */
  running: number
  /** Of the stored ones: those with steps missing. */
  withMissingSteps: number
  /** In the open state in Redis, and not stored yet. */
  open: number
  /** In the stream: unread, or read and not acked. */
  inFlight: number
  /** Named by a dead letter. */
  dead: number
  /** Dead letters that were only counted: whose they were is not known any more. */
  deadNotKept: number
  /** Nowhere. */
  lost: string[]
}

/** Compares the ids of a file (one a line, or JSON with trace_id) with what is in the stream, the open state and Postgres; without a file, those of the stream. */
export async function audit(
  context: CommandContext,
  file: string | undefined,
  { json }: { json?: boolean },
): Promise<number> {
  const { env, connections } = context
  const redis = await connections.redis()
  const emitted = file === undefined ? undefined : await idsOfFile(file, env)
  const found = await auditTraces(context, redis, env, emitted)
  const { withMissingSteps, inFlight, deadNotKept, lost, ...same } = found
  if (json) {
    await writeJson(context, {
      ...same,
      with_missing_steps: withMissingSteps,
      in_flight: inFlight,
      dead_not_kept: deadNotKept,
      lost: lost.length,
      lost_ids: lost.slice(0, IDS_A_QUERY),
    })
  } else await writeLines(context, reportLines(found, file, context))
  return lost.length === 0 ? EXIT_DONE : EXIT_FAILED
}

/**
 * Finds out where traces are. It looks in the order in which they move (stream, open state, Postgres, dead letters): one that
 * moves meanwhile is met further on, not missed. `emitted` undefined: all that the stream still shows.
 */
export async function auditTraces(
  { connections, terminal }: Pick<CommandContext, 'connections' | 'terminal'>,
  redis: RedisLike,
  env: Pick<Environment, 'STEPWELL_NAMESPACE' | 'STEPWELL_SHARDS'>,
  emitted: ReadonlySet<string> | undefined,
): Promise<Audit> {
  const inStream = new Map<string, boolean>()
  const open = new Set<string>()
  const bounded = new BoundedEntries(redis)
  for (let shard = 0; shard < env.STEPWELL_SHARDS; shard++) {
    const keys = shardKeys(env.STEPWELL_NAMESPACE, shard)
    for await (const ms of readStream(redis, bounded, keys.events, inStream))
      terminal.note(passedOverNote(keys.events, ms))
    for await (const id of openIds(redis, keys.due)) open.add(id)
  }
  const wanted = [...(emitted ?? inStream.keys())]
  const result: Audit = {
    emitted: wanted.length,
    stored: 0,
    running: 0,
    withMissingSteps: 0,
    open: 0,
    inFlight: 0,
    dead: 0,
    deadNotKept: 0,
    lost: [],
  }
  // Never a replica: what has not come there yet would count as lost.
  const query = connections.primaryQuery()
  const nowhere = new Set<string>()
  for (let i = 0; i < wanted.length; i += IDS_A_QUERY) {
    const ids = wanted.slice(i, i + IDS_A_QUERY)
    const summaries = await query.getSummaries(ids)
    for (const id of ids) {
      const summary = summaries.get(id)
      if (summary !== undefined) {
        result.stored += 1
        if (summary.status === 'running') result.running += 1
        if (summary.missingSteps > 0) result.withMissingSteps += 1
      } else if (open.has(id)) result.open += 1
      else if (inStream.get(id)) result.inFlight += 1
      else nowhere.add(id)
    }
  }
  if (nowhere.size > 0) {
    const database = connections.database()
    for await (const id of idsOfLetters(database)) {
      if (nowhere.delete(id)) result.dead += 1
    }
    result.deadNotKept = await totalNotKept(database)
  }
  result.lost = [...nowhere]
  return result
}

async function idsOfFile(file: string, env: Environment): Promise<Set<string>> {
  const path = isAbsolute(file) ? file : join(env.INIT_CWD ?? '', file)
  const bytes = file === '-' ? process.stdin : createReadStream(path)
  const ids = new Set<string>()
  try {
    for await (const line of linesOf(bytes, LINE_MAX_BYTES)) {
      const id = 'problem' in line ? undefined : parseTraceId(idOfLine(line.text.trim()))
      if (id === undefined)
        throw new Failure(`${file}, line ${line.number}: no trace id, and no JSON with trace_id`)
      ids.add(id)
    }
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(`${file} cannot be read: ${(error as Error).message}`)
  }
  return ids
}

function idOfLine(text: string): string {
  if (!/^[{"]/.test(text)) return text
  try {
    const value = JSON.parse(text) as string | { trace_id?: string }
    return String(typeof value === 'string' ? value : value.trace_id)
  } catch {
    return ''
  }
}

/** Notes the ids of a stream's entries, true for those of entries that are not acked. Gives the times of entries that are too large to be read. */
async function* readStream(
  redis: RedisLike,
  bounded: BoundedEntries,
  stream: string,
  ids: Map<string, boolean>,
): AsyncGenerator<number> {
  if ((await redis.exists(stream)) === 0) return
  const groups = ((await redis.xinfo('GROUPS', stream)) as unknown[]).map(replyFields)
  const delivered = String(groups.find((one) => one.get('name') === GROUP)?.get('last-delivered-id') ?? '0-0')
  const pending = new Set<string>()
  for (let after = '-'; groups.length > 0; ) {
    const page = (await redis.xpending(stream, GROUP, after, '+', IDS_A_QUERY)) as [string][]
    for (const [id] of page) pending.add(id)
    if (page.length < IDS_A_QUERY) break
    after = `(${page.at(-1)?.[0]}`
  }
  // It brings the first and the last entry with it: undefined where those are too large.
  const told = await bounded.read((one) => one.xinfo('STREAM', stream))
  const last = told === undefined ? `${Date.now()}-0` : String(replyFields(told).get('last-generated-id'))
  let isUnread = false
  for (let after = '0-0'; ; ) {
    const next = await bounded.next(stream, after, ENTRIES_A_READ)
    if (next.passedOverMs !== undefined) yield next.passedOverMs
    if (next.after === after) return
    after = next.after
    for (const [id, fields] of next.entries) {
      if (isLater(id, last)) return
      isUnread ||= isLater(id, delivered)
      const frame = decodeFrame(fields, Date.now())
      for (const { t } of frame.ok ? frame.deltas : [])
        ids.set(t, isUnread || pending.has(id) || ids.get(t) === true)
    }
  }
}

function isLater(id: string, than: string): boolean {
  const [ms = 0, n = 0] = id.split('-').map(Number)
  const [thanMs = 0, thanN = 0] = than.split('-').map(Number)
  return ms > thanMs || (ms === thanMs && n > thanN)
}

async function* openIds(redis: RedisLike, due: string): AsyncGenerator<string> {
  let cursor = '0'
  do {
    const [next, members] = await redis.zscan(due, cursor, 'COUNT', IDS_A_QUERY)
    // Names and scores in turn; a name is an id, or `<id>@<start>`.
    for (let i = 0; i < members.length; i += 2) yield (members[i] as string).split('@')[0] as string
    cursor = next
  } while (cursor !== '0')
}

async function* idsOfLetters(
  database: ReturnType<CommandContext['connections']['database']>,
): AsyncGenerator<string> {
  for (let after = ''; ; ) {
    const page = await listDeadLetters(database, { limit: LETTERS_A_PAGE, after })
    for (const { traceId, payload } of page) {
      if (traceId !== undefined) yield traceId
      else yield* payload.match(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) ?? []
    }
    if (page.length < LETTERS_A_PAGE) return
    after = page.at(-1)?.letterId as string
  }
}

function reportLines(found: Audit, file: string | undefined, { terminal }: CommandContext): string[] {
  const { paint } = terminal
  const { emitted, stored, running, withMissingSteps, open, inFlight, dead, deadNotKept, lost } = found
  const line = (name: string, count: number, note = ''): string =>
    `  ${name.padEnd(10)}${count.toLocaleString('en-US').padStart(12)}${note === '' ? '' : `   ${paint('dim', note)}`}`
  return [
    paint('bold', `${counted(emitted, 'trace')} ${file === undefined ? 'in the streams' : `of ${file}`}`),
    line('stored', stored, `${running} of them running, ${withMissingSteps} with steps missing`),
    line('open', open, 'in Redis, stored at their next checkpoint'),
    line('in flight', inFlight, 'in the streams, not taken in by a worker yet'),
    line('dead', dead, dead === 0 ? '' : 'stepwell dead list says why'),
    line(
      'lost',
      lost.length,
      lost.length === 0 || deadNotKept === 0
        ? ''
        : `or among the dead letters that were not kept: ${deadNotKept.toLocaleString('en-US')}`,
    ),
    ...lost.slice(0, TOLD_MAX).map((id) => `    ${id}`),
    ...(lost.length > TOLD_MAX ? [`    and ${lost.length - TOLD_MAX} more: --json names them`] : []),
    lost.length === 0
      ? paint('green', 'nothing is lost')
      : paint('red', `${counted(lost.length, 'trace')} lost`),
  ]
}
