import { shardKeys } from '@stepwell/protocol'
import { BoundedEntries, passedOverNote } from '../bounded-entries.ts'
import { type CommandContext, writeLines } from '../command.ts'
import { durationText, statusStyle, timeText } from '../format.ts'
import { fit, plain, type Terminal } from '../terminal.ts'
import { EventReader, type TraceEvent } from '../trace-events.ts'

const READ_COUNT = 100
const BLOCK_MS = 500

/** Options of `tail`. */
export interface TailOptions {
  since?: Date
  skill?: string
  json?: boolean
}

/**
 * Follows the streams from now, or from `since` as far as they reach back, until the stop signal. It reads beside the workers
 * and takes nothing from them. With several streams their events come one after the other, not sorted among each other.
 */
export async function tail(context: CommandContext, { since, skill, json }: TailOptions): Promise<void> {
  const { env, terminal, stop } = context
  const redis = await context.connections.redis()
  const streams = Array.from(
    { length: env.STEPWELL_SHARDS },
    (_, i) => shardKeys(env.STEPWELL_NAMESPACE, i).events,
  )
  const reader = new EventReader(skill)
  const bounded = new BoundedEntries(redis)
  const after = new Map<string, string>()
  for (const stream of streams) after.set(stream, await startId(bounded, stream, since))
  if (since !== undefined) await tellReach(bounded, streams, since, terminal)
  while (!stop.aborted) {
    let entries = 0
    for (const stream of streams) {
      // One stream a call: in a cluster each lies elsewhere.
      const blockMs = streams.length === 1 ? BLOCK_MS : Math.ceil(BLOCK_MS / streams.length)
      const id = after.get(stream) as string
      const next = await bounded.next(stream, id, READ_COUNT, blockMs)
      const read = next.entries
      after.set(stream, next.after)
      if (next.passedOverMs !== undefined) terminal.note(passedOverNote(stream, next.passedOverMs))
      entries += read.length
      const events = read.flatMap(([entry, fields]) => reader.eventsOf(fields, Number(entry.split('-')[0])))
      const line = (event: TraceEvent): string => (json ? jsonLineOf(event) : lineOf(event, terminal))
      if (events.length > 0) await writeLines(context, events.map(line))
    }
    // The signal is only seen between two reads.
    if (entries === 0) await new Promise((resolve) => setImmediate(resolve))
  }
}

async function startId(bounded: BoundedEntries, stream: string, since: Date | undefined): Promise<string> {
  if (since !== undefined) return `${Math.max(0, since.getTime() - 1)}-18446744073709551615`
  const found = await bounded.read((redis) => redis.xrevrange(stream, '+', '-', 'COUNT', 1))
  if (found !== undefined) return found[0]?.[0] ?? '0-0'
  // The last one is too large to say which it is.
  const [seconds, microseconds] = (await bounded.read((redis) => redis.time())) as [number, number]
  return `${Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000)}-0`
}

// What is stored is trimmed from the streams after a minute: what is older is in Postgres.
async function tellReach(
  bounded: BoundedEntries,
  streams: readonly string[],
  since: Date,
  terminal: Terminal,
): Promise<void> {
  let reach = Date.now()
  for (const stream of streams) {
    const first = await bounded.read((redis) => redis.xrange(stream, '-', '+', 'COUNT', 1))
    // Too large to say which it is.
    if (first === undefined) return
    if (first[0] !== undefined) reach = Math.min(reach, Number(first[0][0].split('-')[0]))
  }
  if (reach - since.getTime() < 1_000) return
  terminal.note(
    `the streams reach back to ${timeText(new Date(reach))} UTC; what is older is stored: stepwell traces --since ${since.toISOString()}`,
  )
}

/** A Date would be written as the same, but one in it makes all of the line slower: tail of everything takes a twelfth more. */
const jsonLineOf = ({ timeMs, json }: TraceEvent): string =>
  JSON.stringify({ time: new Date(timeMs).toJSON(), ...json })

const MARKS = { start: '▶', step_start: '┌', step_end: '│', end: '■' } as const

function lineOf(event: TraceEvent, { width, paint }: Terminal): string {
  const time = new Date(event.timeMs).toISOString().slice(11, 23)
  const what = event.name === undefined ? '' : plain(event.name)
  const outcome = [
    event.event === 'start' ? 'starts' : event.event === 'step_start' ? 'starts' : (event.status ?? ''),
    event.durationMs === undefined ? '' : durationText(event.durationMs),
    event.errorMessage === undefined ? '' : plain(event.errorMessage),
  ]
  const text = `${MARKS[event.event]} ${[plain(event.skillName) || '?', what, ...outcome].filter((part) => part !== '').join('  ')}`
  // The end of an id tells ids of the same moment apart, the beginning does not.
  const id = event.traceId.slice(-12)
  const room = width - time.length - id.length - 4
  const style =
    event.status === undefined || event.status === 'success' ? undefined : statusStyle(event.status as never)
  const shown = fit(text, room).trimEnd()
  return `${paint('dim', `${time} ${id}`)} ${style === undefined ? shown : paint(style, shown)}`
}
