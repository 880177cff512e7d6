import { boundText, type JsonObject } from '@stepwell/protocol'
import { present } from '@stepwell/query'
import {
  type DeadLetterFilters,
  type DeadLetterReason,
  deleteDeadLetters,
  forgetNotKept,
  listDeadLetterReasons,
  listDeadLetters,
  listNotKept,
  type StoredDeadLetter,
} from '@stepwell/storage'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { EXIT_DONE, EXIT_PARTLY, Failure, UsageError } from '../errors.ts'
import { agoText, counted, timeText } from '../format.ts'
import { type Column, plain, tableLines } from '../terminal.ts'

/** Of a payload, in lists. */
const PREVIEW_MAX_LENGTH = 200

/** Lists what could not be stored: first by reason, then letter by letter, newest first. */
export async function listLetters(
  context: CommandContext,
  { limit, reason, json }: { limit: number; reason?: string; json?: boolean },
): Promise<void> {
  const database = context.connections.reading()
  const reasons = (await listDeadLetterReasons(database)).filter(
    (one) => reason === undefined || one.reason === reason,
  )
  const letters = await listDeadLetters(database, {
    limit,
    ...(reason === undefined ? {} : { reason }),
    // One more tells that there is more.
    payloadMaxLength: PREVIEW_MAX_LENGTH + 1,
  })
  const all = reasons.reduce((sum, one) => sum + one.letters, 0)
  if (json) {
    await writeJson(context, {
      reasons: reasons.map(reasonJson),
      dead_letters: letters.map((letter) => letterJson(letter, PREVIEW_MAX_LENGTH)),
      truncated: all > letters.length,
    })
    return
  }
  if (reasons.length === 0) {
    context.terminal.note(
      reason === undefined
        ? 'no dead letters: everything that came could be stored'
        : 'no dead letters with this reason: it has to be given whole',
    )
    return
  }
  const nowMs = Date.now()
  await writeLines(context, tableLines(reasons.slice(0, limit), reasonColumns(nowMs), context.terminal))
  if (reasons.length > limit) context.terminal.note(`and ${counted(reasons.length - limit, 'more reason')}`)
  if (letters.length === 0) return
  await writeLines(context, ['', ...tableLines(letters, letterColumns(nowMs), context.terminal)])
  if (all > letters.length)
    context.terminal.note(`the newest ${letters.length} of ${counted(all, 'letter')}: --limit shows more`)
}

const reasonColumns = (nowMs: number): Column<DeadLetterReason>[] => [
  { title: 'LETTERS', text: ({ letters }) => letters.toLocaleString('en-US'), right: true },
  {
    title: 'NOT KEPT',
    text: ({ noRoom, tooOld }) => (noRoom + tooOld).toLocaleString('en-US'),
    right: true,
  },
  { title: 'FIRST', text: ({ firstSeenAt }) => agoText(firstSeenAt, nowMs), optional: 1 },
  { title: 'LAST', text: ({ lastSeenAt }) => agoText(lastSeenAt, nowMs) },
  { title: 'REASON', text: ({ reason }) => reason, flexible: 30 },
]

const letterColumns = (nowMs: number): Column<StoredDeadLetter>[] => [
  { title: 'LETTER', text: ({ letterId }) => letterId },
  { title: 'CAME', text: ({ lastSeenAt }) => agoText(lastSeenAt, nowMs) },
  { title: 'TIMES', text: ({ deliveries }) => String(deliveries), right: true, optional: 2 },
  { title: 'REASON', text: ({ reason }) => reason, flexible: 20 },
  {
    title: 'PAYLOAD',
    text: ({ payload }) => boundText(payload, PREVIEW_MAX_LENGTH),
    flexible: 20,
    optional: 1,
  },
]

const reasonJson = ({
  reason,
  letters,
  noRoom,
  tooOld,
  firstSeenAt,
  lastSeenAt,
}: DeadLetterReason): JsonObject =>
  present({
    reason,
    letters,
    not_kept: { no_room: noRoom, too_old: tooOld },
    first_seen_at: firstSeenAt,
    last_seen_at: lastSeenAt,
  })

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
  const [letter] = await listDeadLetters(context.connections.reading(), { letterIds: [letterId] })
  if (letter === undefined) throw new Failure(`There is no dead letter '${letterId}'`)
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

/** The letters that are chosen, by id, page by page. Nothing is passed over while those before are removed. */
export async function* pagesOfLetters(
  context: CommandContext,
  options: DeadLetterFilters & { limit: number; payloadMaxLength?: number },
): AsyncGenerator<StoredDeadLetter[]> {
  for (let after = ''; ; ) {
    // From the primary: what is removed by what a replica shows can be something else by now.
    const page = await listDeadLetters(context.connections.database(), { ...options, after })
    if (page.length > 0) yield page
    if (page.length < options.limit) return
    after = page.at(-1)?.letterId as string
  }
}

/** What letters are meant: those named, those of a reason, or all. */
export function chosenBy(wanted: readonly string[], reason: string | undefined): DeadLetterFilters {
  return {
    ...(wanted.length === 0 ? {} : { letterIds: wanted }),
    ...(reason === undefined ? {} : { reason }),
  }
}

const DROP_AT_ONCE = 1_000

/** Removes letters for good: those named, those of a reason, or all; with a reason, or all, what was counted of others is forgotten too. */
export async function dropLetters(
  context: CommandContext,
  wanted: readonly string[],
  { all, reason, dryRun }: { all?: boolean; reason?: string; dryRun?: boolean },
): Promise<number> {
  if ([wanted.length > 0, reason !== undefined, all === true].filter(Boolean).length !== 1)
    throw new UsageError('say which letters to drop: their ids, --reason <reason>, or --all')
  const database = context.connections.database()
  let dropped = 0
  for await (const page of pagesOfLetters(context, {
    ...chosenBy(wanted, reason),
    limit: DROP_AT_ONCE,
    payloadMaxLength: 0,
  })) {
    dropped += page.length
    if (!dryRun)
      await deleteDeadLetters(
        database,
        page.map((letter) => letter.letterId),
      )
  }
  const notKept = wanted.length > 0 ? [] : await listNotKept(database)
  const forgotten = notKept
    .filter((one) => reason === undefined || one.reason === reason)
    .reduce((sum, { noRoom, tooOld }) => sum + noRoom + tooOld, 0)
  if (!dryRun && forgotten > 0) await forgetNotKept(database, reason)
  if (dropped + forgotten === 0 && all !== true) throw new Failure('There is no such dead letter')
  const [drop, forget] = dryRun ? ['would drop', 'would forget'] : ['dropped', 'forgot']
  const also =
    forgotten === 0 ? '' : `, and ${forget} ${forgotten.toLocaleString('en-US')} that were not kept`
  await writeLines(context, [`${drop} ${counted(dropped, 'letter')}${also}`])
  return tellAbsent(context, wanted, dropped)
}

/** Says how many of the letters that were named are not there, and gives the exit code for it. */
export function tellAbsent({ terminal }: CommandContext, wanted: readonly string[], found: number): number {
  const absent = new Set(wanted).size - found
  if (absent <= 0) return EXIT_DONE
  terminal.note(`${counted(absent, 'letter')} of those named ${absent === 1 ? 'is' : 'are'} not there`)
  return EXIT_PARTLY
}
