import { boundText, encodeFrame, type Json, type JsonObject } from '@stepwell/protocol'
import { decodeFrame } from '@stepwell/protocol/schema'
import { present } from '@stepwell/query'
import { deleteDeadLetters, listDeadLetters, type StoredDeadLetter } from '@stepwell/storage'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { EXIT_DONE, EXIT_PARTLY, Failure, UsageError } from '../errors.ts'
import { agoText, counted, timeText } from '../format.ts'
import { plain, tableLines } from '../terminal.ts'

const PAGE = 200
/** Of a payload, in lists. */
const PREVIEW_MAX_LENGTH = 200

/** Lists what could not be stored, newest first. */
export async function listLetters(
  context: CommandContext,
  { limit, json }: { limit: number; json?: boolean },
): Promise<void> {
  const letters = await listDeadLetters(context.connections.database(), { limit })
  if (json) {
    await writeJson(context, {
      dead_letters: letters.map((letter) => letterJson(letter, PREVIEW_MAX_LENGTH)),
    })
    return
  }
  if (letters.length === 0) {
    context.terminal.note('no dead letters: everything that came could be stored')
    return
  }
  const nowMs = Date.now()
  const lines = tableLines(
    letters,
    [
      { title: 'LETTER', text: (letter) => letter.letterId },
      { title: 'CAME', text: (letter) => agoText(letter.lastSeenAt, nowMs) },
      { title: 'TIMES', text: (letter) => String(letter.deliveries), right: true, optional: 1 },
      { title: 'REASON', text: (letter) => letter.reason, flexible: 30 },
    ],
    context.terminal,
  )
  await writeLines(context, lines)
}

const letterJson = (letter: StoredDeadLetter, payloadMaxLength: number): JsonObject =>
  present({
    letter_id: letter.letterId,
    reason: letter.reason,
    stream: letter.stream,
    entry_id: letter.entryId,
    producer: letter.producer,
    trace_id: letter.traceId,
    first_seen_at: letter.firstSeenAt,
    last_seen_at: letter.lastSeenAt,
    deliveries: letter.deliveries,
    payload: boundText(letter.payload, payloadMaxLength),
  })

/** Shows one letter, its payload whole. */
export async function showLetter(
  context: CommandContext,
  letterId: string,
  { json }: { json?: boolean },
): Promise<void> {
  const letter = await findLetter(context, letterId)
  if (json) return writeJson(context, letterJson(letter, Number.POSITIVE_INFINITY))
  const told: [string, string | undefined][] = [
    ['letter', letter.letterId],
    ['reason', letter.reason],
    ['trace', letter.traceId],
    ['producer', letter.producer],
    ['first', `${timeText(letter.firstSeenAt)} UTC`],
    ['last', `${timeText(letter.lastSeenAt)} UTC, ${counted(letter.deliveries, 'time')}`],
    ['payload', letter.payload],
  ]
  await writeLines(
    context,
    told.flatMap(([name, value]) =>
      value === undefined ? [] : [`${context.terminal.paint('dim', name.padEnd(10))}${plain(value)}`],
    ),
  )
}

/** Removes letters for good: those named, or all. */
export async function dropLetters(
  context: CommandContext,
  wanted: readonly string[],
  { all, dryRun }: { all?: boolean; dryRun?: boolean },
): Promise<void> {
  if ((wanted.length === 0) !== (all === true)) throw new UsageError('say which letters to drop, or --all')
  let dropped = 0
  for await (const page of pagesOf(context, wanted)) {
    dropped += page.length
    if (!dryRun)
      await deleteDeadLetters(
        context.connections.database(),
        page.map((letter) => letter.letterId),
      )
  }
  if (dropped === 0 && wanted.length > 0) throw new Failure('There is no such dead letter')
  await writeLines(context, [`${dryRun ? 'would drop' : 'dropped'} ${counted(dropped, 'letter')}`])
}

async function findLetter(context: CommandContext, letterId: string): Promise<StoredDeadLetter> {
  for await (const page of pagesOf(context, [letterId])) if (page[0] !== undefined) return page[0]
  throw new Failure(`There is no dead letter '${letterId}'`)
}

/** The letters, all or those named, page by page. */
async function* pagesOf(
  context: CommandContext,
  wanted: readonly string[],
): AsyncGenerator<StoredDeadLetter[]> {
  const database = context.connections.database()
  let before: StoredDeadLetter | undefined
  do {
    const page = await listDeadLetters(database, { limit: PAGE, ...(before === undefined ? {} : { before }) })
    before = page.length < PAGE ? undefined : page.at(-1)
    yield wanted.length === 0 ? page : page.filter((letter) => wanted.includes(letter.letterId))
  } while (before !== undefined)
}

/**
 * Sends letters through their streams once more, all or those named: after an upgrade that knows their version, or a repair. Those
 * that would be refused again stay. A letter is removed after Redis has it: killed in between it is sent twice, which is harmless.
 */
export async function replayLetters(
  context: CommandContext,
  wanted: readonly string[],
  { dryRun }: { dryRun?: boolean },
): Promise<number> {
  const redis = await context.connections.redis()
  let sent = 0
  let kept = 0
  for await (const page of pagesOf(context, wanted)) {
    const replayed: string[] = []
    for (const letter of page) {
      const frame = frameOf(letter, sent + replayed.length)
      if (!('problem' in frame)) {
        if (!dryRun) await redis.xadd(letter.stream, '*', ...frame.fields)
        replayed.push(letter.letterId)
        continue
      }
      kept += 1
      context.terminal.note(`${letter.letterId} stays: ${frame.problem}`)
    }
    if (!dryRun) await deleteDeadLetters(context.connections.database(), replayed)
    sent += replayed.length
  }
  if (wanted.length > 0 && sent + kept === 0) throw new Failure('There is no such dead letter')
  const done = `${dryRun ? 'would replay' : 'replayed'} ${counted(sent, 'letter')}`
  await writeLines(context, [kept === 0 ? done : `${done}; ${kept} stay`])
  return kept === 0 ? EXIT_DONE : EXIT_PARTLY
}

/** What to send for a letter; or why nothing can be. */
function frameOf(letter: StoredDeadLetter, index: number): { fields: string[] } | { problem: string } {
  let payload: Json
  try {
    payload = JSON.parse(letter.payload)
  } catch {
    return { problem: 'its payload was cut: it was too large' }
  }
  const fields = Array.isArray(payload) ? payload.map(String) : frameOfDelta(payload, letter, index)
  const decoded = decodeFrame(fields, Date.now())
  if (!decoded.ok) return { problem: decoded.reason }
  const [refused] = decoded.refused
  return refused !== undefined && decoded.deltas.length === 0 ? { problem: refused.reason } : { fields }
}

/** A frame for a delta that was refused by itself. Its number is one that its producer does not reach. */
function frameOfDelta(delta: Json, letter: StoredDeadLetter, index: number): string[] {
  const own = /:(\d+)(?:\.\d+)?$/.exec(letter.entryId)?.[1]
  return encodeFrame({
    producer: letter.producer ?? 'replay',
    number: own === undefined ? Date.now() * 100 + (index % 100) : Number(own),
    deltaCount: 1,
    counters: { emitted: 0, acked: 0, dropped: {} },
    deltas: JSON.stringify([delta]),
  })
}
