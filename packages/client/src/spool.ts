import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { shardOf } from '@stepwell/protocol'
import type { OutgoingFrame, Sink } from './sink.ts'

/** Where frames are kept that could not be sent. */
export interface SpoolOptions {
  /** A folder; it is made if it is missing. Any number of processes may share it. */
  folder: string
  /** Most bytes that its files may have together. Default: 64 MiB. */
  maxBytes?: number
}

const SUFFIX = '.frames'
const CLAIM = /^(.+\.frames)\.(\d+)-[0-9a-f]+\.claimed$/
/** A claim that nobody has touched for this long is nobody's: its process may be on another machine, where its id says nothing. */
const STALE_CLAIM_MS = 60_000
const LOOK_EVERY_MS = 1_000
const HEADER = '{"stepwell_spool":1}'

/**
 * Frames on disk. A frame is (in memory) → written, with its identity → claimed by one process → sent → removed. Every step may happen
 * twice: the same frame is the same, however often a worker gets it. Nothing here throws; what the disk refuses is told
 * to `onTrouble` once.
 */
export class Spool {
  readonly #folder: string
  readonly #maxBytes: number
  readonly #sink: Sink
  readonly #shards: number
  readonly #onTrouble: (message: string) => void
  readonly #timer: NodeJS.Timeout
  #replaying: Promise<void> | undefined
  /** Being written; at an exit in the middle of it they are written again. */
  #inWriting: OutgoingFrame[] | undefined
  #hasTold = false
  #isClosed = false

  constructor(
    options: Required<SpoolOptions>,
    sink: Sink,
    shards: number,
    onTrouble: (message: string) => void,
  ) {
    this.#folder = options.folder
    this.#maxBytes = options.maxBytes
    this.#sink = sink
    this.#shards = shards
    this.#onTrouble = onTrouble
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS).unref()
    this.#look()
  }

  /** Whether frames are on their way to the disk. */
  get isWriting(): boolean {
    return this.#inWriting !== undefined
  }

  /** Writes frames at once; gives those that the disk, or the limit, did not take. For the end of a process. */
  writeNow(frames: readonly OutgoingFrame[]): OutgoingFrame[] {
    const all = [...(this.#inWriting ?? []), ...frames]
    return this.#attempt(() => {
      const { text, rest } = this.#fitting(all)
      if (text === undefined) return rest
      const path = this.#newPath(all[0] as OutgoingFrame)
      writeFileSync(`${path}.tmp`, text, { mode: 0o600 })
      renameSync(`${path}.tmp`, path)
      return rest
    }, all)
  }

  /** The same without blocking; resolves with those that were not taken. One call at a time. */
  async write(frames: readonly OutgoingFrame[]): Promise<OutgoingFrame[]> {
    this.#inWriting = [...frames]
    try {
      const { text, rest } = this.#fitting(frames)
      if (text !== undefined) {
        const path = this.#newPath(frames[0] as OutgoingFrame)
        await writeFile(`${path}.tmp`, text, { mode: 0o600 })
        await rename(`${path}.tmp`, path)
      }
      return rest
    } catch (error) {
      this.#tell(error)
      return [...frames]
    } finally {
      this.#inWriting = undefined
    }
  }

  /** Resolves when what is being sent from the disk is sent, or cannot be. */
  async settled(): Promise<void> {
    this.#look()
    await this.#replaying
  }

  /** Stops looking for files. */
  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
  }

  #look(): void {
    if (this.#isClosed || this.#replaying !== undefined || !this.#sink.isReady() || this.#sink.isBackedUp?.())
      return
    const files = this.#attempt(() => readdirSync(this.#folder, { withFileTypes: true }), [])
    const mine = files.flatMap((entry) => (entry.isFile() ? (this.#claim(entry.name) ?? []) : []))
    if (mine.length === 0) return
    this.#replaying = this.#replay(mine).finally(() => {
      this.#replaying = undefined
    })
  }

  /** Makes a file ours, by its name: only one process can. Its path then, or undefined. */
  #claim(name: string): string | undefined {
    const claimed = CLAIM.exec(name)
    const original = claimed?.[1] ?? (name.endsWith(SUFFIX) ? name : undefined)
    if (original === undefined) return undefined
    const path = join(this.#folder, name)
    if (claimed !== null && !isAbandoned(path, Number(claimed[2]))) return undefined
    const ours = join(this.#folder, `${original}.${process.pid}-${randomBytes(4).toString('hex')}.claimed`)
    try {
      renameSync(path, ours)
      return ours
    } catch {
      // Another one was faster.
      return undefined
    }
  }

  async #replay(paths: readonly string[]): Promise<void> {
    for (const path of paths) {
      const { frames, isDamaged } = this.#attempt(() => readFrames(path), { frames: [], isDamaged: true })
      let sent = 0
      try {
        for (; sent < frames.length; sent++)
          for (const part of this.#parts(frames[sent] as OutgoingFrame)) await this.#sink.send(part)
      } catch {
        // Redis is away again, or full: back, for whoever comes first.
        this.#attempt(() => putBack(path, sent > 0 && !isDamaged ? frames.slice(sent) : undefined), undefined)
        continue
      }
      if (!isDamaged) this.#attempt(() => rmSync(path, { force: true }), undefined)
      else {
        const aside = `${CLAIM.exec(path)?.[1] ?? path}.damaged`
        this.#attempt(() => renameSync(path, aside), undefined)
        this.#tell(new Error(`${aside} is damaged: what could be read of it was sent, look at the rest`))
      }
    }
  }

  /** The frame; where the number of streams has changed since, one for each stream that its traces belong to now. */
  #parts(frame: OutgoingFrame): OutgoingFrame[] {
    const deltas = JSON.parse(frame.deltas) as { t: string }[]
    const byShard = new Map<number, { t: string }[]>()
    for (const delta of deltas) {
      const shard = shardOf(delta.t, this.#shards)
      const some = byShard.get(shard)
      if (some === undefined) byShard.set(shard, [delta])
      else some.push(delta)
    }
    if (byShard.size === 1) return [{ ...frame, shard: byShard.keys().next().value as number }]
    return [...byShard].map(([shard, some]) => ({
      ...frame,
      shard,
      deltaCount: some.length,
      deltas: JSON.stringify(some),
    }))
  }

  /** The text of as many frames as there is room for, and the others. */
  #fitting(frames: readonly OutgoingFrame[]): { text: string | undefined; rest: OutgoingFrame[] } {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    let used = 0
    for (const name of readdirSync(this.#folder)) {
      used += statSync(join(this.#folder, name), { throwIfNoEntry: false })?.size ?? 0
    }
    let text = `${HEADER}\n`
    let size = text.length
    const rest: OutgoingFrame[] = []
    for (const frame of frames) {
      // Signs of life say nothing later.
      if (frame.events === 0) continue
      const line = lineOf(frame)
      const bytes = Buffer.byteLength(line)
      if (used + size + bytes > this.#maxBytes) rest.push(frame)
      else {
        text += line
        size += bytes
      }
    }
    return { text: size > HEADER.length + 1 ? text : undefined, rest }
  }

  #newPath({ producer, number }: OutgoingFrame): string {
    return join(this.#folder, `${producer}-${number}-${randomBytes(3).toString('hex')}${SUFFIX}`)
  }

  #attempt<T>(work: () => T, otherwise: T): T {
    try {
      return work()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#tell(error)
      return otherwise
    }
  }

  #tell(error: unknown): void {
    if (this.#hasTold) return
    this.#hasTold = true
    this.#onTrouble(`spool: ${(error as Error).message}`)
  }
}

const lineOf = (frame: OutgoingFrame): string => `${JSON.stringify(frame)}\n`

/** Makes a claimed file everybody's again; with `rest` without what was sent: a Redis that is full would be filled with the same again and again. */
function putBack(path: string, rest: readonly OutgoingFrame[] | undefined): void {
  const original = CLAIM.exec(path)?.[1] ?? path
  if (rest === undefined) renameSync(path, original)
  else {
    writeFileSync(`${original}.tmp`, `${HEADER}\n${rest.map(lineOf).join('')}`, { mode: 0o600 })
    renameSync(`${original}.tmp`, original)
    rmSync(path, { force: true })
  }
}

/** Whether the process that claimed a file has ended, or does nothing with it. */
function isAbandoned(path: string, pid: number): boolean {
  if (pid === process.pid) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return true
  }
  const changedMs = statSync(path, { throwIfNoEntry: false })?.ctimeMs
  return changedMs !== undefined && Date.now() - changedMs > STALE_CLAIM_MS
}

function readFrames(path: string): { frames: OutgoingFrame[]; isDamaged: boolean } {
  const [header, ...lines] = readFileSync(path, 'utf8').split('\n')
  const frames: OutgoingFrame[] = []
  // A whole file ends with a line feed.
  let isDamaged = header !== HEADER || lines.pop() !== ''
  for (const line of header === HEADER ? lines : []) {
    const frame = frameOf(line)
    if (frame === undefined) isDamaged = true
    else frames.push(frame)
  }
  return { frames, isDamaged }
}

function frameOf(line: string): OutgoingFrame | undefined {
  try {
    const frame = JSON.parse(line) as OutgoingFrame
    const deltas = JSON.parse(frame.deltas) as { t: unknown }[]
    const isWhole =
      typeof frame.producer === 'string' &&
      Number.isSafeInteger(frame.number) &&
      deltas.length === frame.deltaCount &&
      deltas.every(({ t }) => typeof t === 'string')
    return isWhole ? frame : undefined
  } catch {
    return undefined
  }
}
