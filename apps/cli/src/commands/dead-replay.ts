import { encodeFrame, type Json } from '@stepwell/protocol'
import { decodeFrame } from '@stepwell/protocol/schema'
import { deleteDeadLetters, type StoredDeadLetter } from '@stepwell/storage'
import { type CommandContext, writeLines } from '../command.ts'
import { EXIT_PARTLY, Failure } from '../errors.ts'
import { counted } from '../format.ts'
import { chosenBy, pagesOfLetters, tellAbsent } from './dead.ts'

/** Payloads are read whole, each up to a MiB. */
const PAGE = 32
/** Letters that stay and are told one by one. */
const TOLD_MAX = 20

/**
 * Sends letters through their streams once more, oldest first: those named, those of a reason, or all; after an upgrade that knows
 * their version, or a repair. Those that would be refused again stay. A letter is removed after Redis has it: killed in between
 * it is sent twice, which is harmless, for deltas merge to the same trace however often they come.
 */
export async function replayLetters(
  context: CommandContext,
  wanted: readonly string[],
  { reason, dryRun }: { reason?: string; dryRun?: boolean },
): Promise<number> {
  const redis = await context.connections.redis()
  let sent = 0
  let kept = 0
  for await (const page of pagesOfLetters(context, { ...chosenBy(wanted, reason), limit: PAGE })) {
    const replayed: string[] = []
    for (const letter of page) {
      const frame = frameOf(letter, sent + replayed.length)
      if (!('problem' in frame)) {
        if (!dryRun) await redis.xadd(letter.stream, '*', ...frame.fields)
        replayed.push(letter.letterId)
        continue
      }
      kept += 1
      if (kept <= TOLD_MAX) context.terminal.note(`${letter.letterId} stays: ${frame.problem}`)
    }
    if (!dryRun) await deleteDeadLetters(context.connections.database(), replayed)
    sent += replayed.length
  }
  if (kept > TOLD_MAX) context.terminal.note(`… and ${kept - TOLD_MAX} more`)
  if ((wanted.length > 0 || reason !== undefined) && sent + kept === 0)
    throw new Failure('There is no such dead letter')
  const done = `${dryRun ? 'would replay' : 'replayed'} ${counted(sent, 'letter')}`
  await writeLines(context, [kept === 0 ? done : `${done}; ${kept} stay`])
  const code = tellAbsent(context, wanted, sent + kept)
  return kept === 0 ? code : EXIT_PARTLY
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
