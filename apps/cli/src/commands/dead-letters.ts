import { encodeFrame, type Json } from '@stepwell/protocol'
import { decodeFrame } from '@stepwell/protocol/schema'
import { present } from '@stepwell/query'
import { deleteDeadLetters, listDeadLetters, type StoredDeadLetter } from '@stepwell/storage'
import type { Redis } from 'ioredis'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { EXIT_DONE, EXIT_PARTLY, Failure } from '../errors.ts'
import { agoText, counted } from '../format.ts'
import { tableLines } from '../terminal.ts'

const PAGE = 200

/** Lists what could not be stored, newest first. */
export async function listLetters(
  context: CommandContext,
  { limit, json }: { limit: number; json?: boolean },
): Promise<void> {
  const letters = await listDeadLetters(context.connections.database(), { limit })
  if (json) {
    await writeJson(context, {
      dead_letters: letters.map((letter) =>
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
          payload: letter.payload,
        }),
      ),
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

/**
 * Sends letters through their streams once more, all or those named: after an upgrade that knows their version, or a repair. Those
 * that would be refused again stay. A letter is removed after Redis has it: killed in between it is sent twice, which is harmless.
 */
export async function replayLetters(context: CommandContext, wanted: readonly string[]): Promise<number> {
  const database = context.connections.database()
  const redis = await context.connections.redis()
  let sent = 0
  let kept = 0
  let found = 0
  let before: StoredDeadLetter | undefined
  for (;;) {
    const page = await listDeadLetters(database, { limit: PAGE, ...(before === undefined ? {} : { before }) })
    const replayed: string[] = []
    for (const letter of page) {
      if (wanted.length > 0 && !wanted.includes(letter.letterId)) continue
      found += 1
      const problem = await replay(redis, letter, sent)
      if (problem === undefined) replayed.push(letter.letterId)
      else {
        kept += 1
        context.terminal.note(`${letter.letterId} stays: ${problem}`)
      }
    }
    await deleteDeadLetters(database, replayed)
    sent += replayed.length
    before = page.at(-1)
    if (page.length < PAGE || before === undefined) break
  }
  if (wanted.length > 0 && found === 0) throw new Failure('There is no such dead letter')
  await writeLines(context, [`replayed ${counted(sent, 'letter')}${kept === 0 ? '' : `; ${kept} stay`}`])
  return kept === 0 ? EXIT_DONE : EXIT_PARTLY
}

/** Sends a letter; the reason why it cannot be, or undefined. */
async function replay(redis: Redis, letter: StoredDeadLetter, index: number): Promise<string | undefined> {
  let payload: Json
  try {
    payload = JSON.parse(letter.payload)
  } catch {
    return 'its payload was cut: it was too large'
  }
  const fields = Array.isArray(payload) ? payload.map(String) : frameOf(payload, letter, index)
  const decoded = decodeFrame(fields, Date.now())
  if (!decoded.ok) return decoded.reason
  if (decoded.refused[0] !== undefined && decoded.deltas.length === 0) return decoded.refused[0].reason
  await redis.xadd(letter.stream, '*', ...fields)
  return undefined
}

/** A frame for a delta that was refused by itself. Its number is one that its producer does not reach. */
function frameOf(delta: Json, letter: StoredDeadLetter, index: number): string[] {
  const own = /:(\d+)(?:\.\d+)?$/.exec(letter.entryId)?.[1]
  return encodeFrame({
    producer: letter.producer ?? 'replay',
    number: own === undefined ? Date.now() * 100 + (index % 100) : Number(own),
    deltaCount: 1,
    counters: { emitted: 0, acked: 0, dropped: {} },
    deltas: JSON.stringify([delta]),
  })
}
