import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { listDeadLetters, totalNotKept } from '@stepwell/storage'
import { type CommandContext, writeLines } from '../command.ts'
import type { Environment } from '../config.ts'
import { EXIT_DONE, EXIT_FAILED, EXIT_PARTLY, Failure } from '../errors.ts'
import { counted } from '../format.ts'
import { FrameWriter } from '../frame-writer.ts'
import { runOfLine } from '../import-line.ts'
import { linesOf } from '../lines.ts'

/** Bad lines that are told one by one. */
const TOLD_MAX = 20
/** Bounds memory: a line is one run. The longest traces that are kept, of 200,000 steps, take about half. */
const LINE_MAX_BYTES = 64 << 20

/**
 * Imports traces, one a line, through the whole pipeline; resolves with the exit code when workers have stored all of them. Bad
 * lines are told and passed over. Idempotent. Memory holds a few frames, whatever the size of the file.
 */
export async function importFile(
  context: CommandContext,
  file: string,
  { timeout }: { timeout: number },
): Promise<number> {
  const { terminal, connections, env } = context
  const source = await openSource(file, env)
  // Asked before anything is sent: it tells what was refused afterwards.
  const database = connections.database()
  const notKeptBefore = await totalNotKept(database)
  const writer = new FrameWriter(await connections.redis(), {
    namespace: env.STEPWELL_NAMESPACE,
    shards: env.STEPWELL_SHARDS,
    timeoutMs: timeout,
    onWait: (hint) => terminal.note(hint),
  })
  let good = 0
  let bad = 0
  let cut = 0
  let refused = 0
  const tell = (where: string, problem: string): void => {
    bad += 1
    if (bad <= TOLD_MAX) terminal.note(`${where} ${problem}`)
  }
  let shownMs = 0
  for await (const line of linesOf(source.bytes, LINE_MAX_BYTES)) {
    if (context.stop.aborted) break
    try {
      if ('problem' in line) throw new Error(line.problem)
      const run = runOfLine(line.text, Date.now())
      await writer.write(run.delta)
      good += 1
      if (run.isCut) cut += 1
    } catch (error) {
      if (error instanceof Failure || (error as { command?: unknown }).command !== undefined) throw error
      tell(`line ${line.number}:`, (error as Error).message)
    }
    if (performance.now() - shownMs > 100) {
      shownMs = performance.now()
      terminal.progress(progressLine(good, source.done()))
    }
  }
  terminal.progress(`${progressLine(good, 1)}: waiting until all is stored`)
  await writer.finish()
  terminal.progress(undefined)
  for (const letter of await listDeadLetters(database, {
    producer: writer.producer,
    limit: 100_000,
    payloadMaxLength: 0,
  })) {
    refused += 1
    tell(
      letter.traceId === undefined ? 'a trace' : `trace ${letter.traceId}`,
      `was refused: ${letter.reason}`,
    )
  }
  const notKept = (await totalNotKept(database)) - notKeptBefore
  if (notKept > 0)
    terminal.note(
      `${counted(notKept, 'dead letter')} could not be kept meanwhile: traces of this file may be among them. stepwell dead list says why; make room, and import it again`,
    )
  if (bad > TOLD_MAX) terminal.note(`… and ${bad - TOLD_MAX} more`)
  if (cut > 0)
    terminal.note(
      `${counted(cut, 'trace')} had names, messages or metadata over the limits: they are cut, and marked`,
    )
  if (context.stop.aborted)
    terminal.note('stopped: the rest of the file was not read. Import it again to go on')
  const stored = good - refused
  await writeLines(context, [
    `imported ${notKept === 0 ? '' : 'at most '}${counted(stored, 'trace')}${bad === 0 ? '' : `; ${counted(bad, 'line')} could not be taken`}`,
  ])
  if (bad + notKept === 0 && !context.stop.aborted) return EXIT_DONE
  return stored > 0 ? EXIT_PARTLY : EXIT_FAILED
}

interface Source {
  bytes: AsyncIterable<Uint8Array>
  /** The share that has been read; undefined for a pipe. */
  done(): number | undefined
}

async function openSource(file: string, env: Environment): Promise<Source> {
  if (file === '-') return { bytes: process.stdin, done: () => undefined }
  const path = isAbsolute(file) || env.INIT_CWD === undefined ? file : join(env.INIT_CWD, file)
  const found = await stat(path).catch(async (error: NodeJS.ErrnoException) => {
    throw new Failure(
      `${file} cannot be read: ${error.code === 'ENOENT' ? 'there is no such file' : error.message}`,
    )
  })
  if (found.isDirectory())
    throw new Failure(`${file} is a folder: give a file of NDJSON, or - for standard input`)
  const stream = createReadStream(path)
  return { bytes: stream, done: () => (found.size === 0 ? 1 : stream.bytesRead / found.size) }
}

const BAR_WIDTH = 24

function progressLine(traces: number, share: number | undefined): string {
  const text = counted(traces, 'trace')
  if (share === undefined) return text
  const full = Math.min(BAR_WIDTH, Math.round(share * BAR_WIDTH))
  return `${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)} ${String(Math.min(100, Math.floor(share * 100))).padStart(3)} %  ${text}`
}
