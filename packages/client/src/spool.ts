import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { shardOf } from '@stepwell/protocol'
import type { OutgoingFrame, Sink } from './sink.ts'
import { encodeFrames, keepWholeLines, readFrames, type SpoolText } from './spool-file.ts'

/** Where frames are kept that could not be sent. */
export interface SpoolOptions {
  /** A folder; it is made if it is missing. Any number of processes may share it. */
  folder: string
  /** Most bytes that its files may have together. Default: 64 MiB. */
  maxBytes?: number
}

const SUFFIX = '.frames'
/** A file that is being written. */
const UNFINISHED = '.frames.tmp'
const CLAIM = /^(.+\.frames(?:\.tmp)?)\.(\d+)-[0-9a-f]+\.claimed$/
/**
 * What nobody has touched for this long is nobody's, a claim or a file that was being written: its process may be on another
 * machine, where its id says nothing.
 */
const STALE_MS = 60_000
const LOOK_EVERY_MS = 1_000

/**
 * Frames on disk. A frame is (in memory) → written, with its identity → claimed by one process → sent → removed. Every step may happen
 * twice: the same frame is the same, however often a worker gets it. Nothing here throws; what the disk refuses is given
 * back, and told to `onTrouble` once.
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
  #inWriting: { path: string; frames: readonly OutgoingFrame[] } | undefined
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
    const all = [...(this.#inWriting?.frames ?? []), ...frames]
    const path = this.#newPath(all)
    return this.#attempt(() => {
      if (this.#inWriting !== undefined) rmSync(`${this.#inWriting.path}.tmp`, { force: true })
      const file = this.#encode(all)
      if (file.frames.length === 0) return file.rest
      try {
        writeFileSync(`${path}.tmp`, file.text, { mode: 0o600 })
      } catch (error) {
        return this.#finish(path, file, error)
      }
      return this.#finish(path, file)
    }, all)
  }

  /** The same without blocking; resolves with those that were not taken. One call at a time. */
  async write(frames: readonly OutgoingFrame[]): Promise<OutgoingFrame[]> {
    const path = this.#newPath(frames)
    this.#inWriting = { path, frames }
    try {
      const file = this.#encode(frames)
      if (file.frames.length === 0) return file.rest
      const error: unknown = await writeFile(`${path}.tmp`, file.text, { mode: 0o600 }).catch((e) => e)
      return this.#finish(path, file, error)
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
    const isUnfinished = name.endsWith(UNFINISHED)
    const original = claimed?.[1] ?? (isUnfinished || name.endsWith(SUFFIX) ? name : undefined)
    if (original === undefined) return undefined
    const path = join(this.#folder, name)
    if (claimed !== null && !isAbandoned(path, Number(claimed[2]))) return undefined
    if (isUnfinished && !isStale(path, 'mtimeMs')) return undefined
    const ours = join(this.#folder, `${original}.${process.pid}-${randomBytes(4).toString('hex')}.claimed`)
    try {
      renameSync(path, ours)
      return ours
    } catch (error) {
      // Mostly another one was faster.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#tell(error)
      return undefined
    }
  }

  async #replay(paths: readonly string[]): Promise<void> {
    for (const path of paths) {
      const file = this.#attempt(() => readFrames(path), undefined)
      if (file === undefined) continue
      const { frames, isDamaged } = file
      let sent = 0
      try {
        for (; sent < frames.length; sent++)
          for (const part of this.#parts(frames[sent] as OutgoingFrame)) await this.#sink.send(part)
      } catch {
        // Redis is away again, or full: back, for whoever comes first.
        this.#attempt(() => putBack(path, sent > 0 && !isDamaged ? frames.slice(sent) : undefined), undefined)
        continue
      }
      const original = CLAIM.exec(path)?.[1] ?? path
      // That the end of an unfinished file is missing is no news.
      if (!isDamaged || original.endsWith(UNFINISHED))
        this.#attempt(() => rmSync(path, { force: true }), undefined)
      else {
        const aside = `${original}.damaged`
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

  /** The text of as many frames as there is room for in the folder. */
  #encode(frames: readonly OutgoingFrame[]): SpoolText {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    let used = 0
    for (const name of readdirSync(this.#folder)) {
      used += statSync(join(this.#folder, name), { throwIfNoEntry: false })?.size ?? 0
    }
    return encodeFrames(frames, this.#maxBytes - used)
  }

  /** Makes a file that was written one that is sent; after an error what is whole of it. Gives the frames that are not in it. */
  #finish(path: string, { frames, rest }: SpoolText, error?: unknown): OutgoingFrame[] {
    const unfinished = `${path}.tmp`
    let count = frames.length
    if (error !== undefined) {
      this.#tell(error)
      count = this.#attempt(() => keepWholeLines(unfinished), 0)
    }
    if (count > 0) renameSync(unfinished, path)
    else rmSync(unfinished, { force: true })
    return [...frames.slice(count), ...rest]
  }

  #newPath([first]: readonly OutgoingFrame[]): string {
    const name = `${first?.producer}-${first?.number}-${randomBytes(3).toString('hex')}${SUFFIX}`
    return join(this.#folder, name)
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

/** Makes a claimed file everybody's again; with `rest` without what was sent: a Redis that is full would be filled with the same again and again. */
function putBack(path: string, rest: readonly OutgoingFrame[] | undefined): void {
  const original = CLAIM.exec(path)?.[1] ?? path
  const unfinished = `${original}.tmp`
  if (rest === undefined) {
    renameSync(path, original)
    return
  }
  try {
    writeFileSync(unfinished, encodeFrames(rest, Number.POSITIVE_INFINITY).text, { mode: 0o600 })
    renameSync(unfinished, original)
    rmSync(path, { force: true })
  } catch {
    // The disk is full: whole, as it was.
    rmSync(unfinished, { force: true })
    renameSync(path, original)
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
  return isStale(path, 'ctimeMs')
}

function isStale(path: string, since: 'ctimeMs' | 'mtimeMs'): boolean {
  const changedMs = statSync(path, { throwIfNoEntry: false })?.[since]
  return changedMs !== undefined && Date.now() - changedMs > STALE_MS
}
