import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const EVERY_MS = 2_000
/** In its first minute a process warms up. */
const FROM_MS = 60_000
/** Of what is compared, the one at the beginning and the one at the end: the median over so long. */
const SPAN_MS = 30_000

/** How much memory a process had. Bytes. */
export interface MemoryUse {
  name: string
  lifeMs: number
  mostBytes: number
  /** From its second minute to its end; undefined for one that lived less than two minutes and a half. */
  grownBytes: number | undefined
}

interface Watched {
  name: string
  bytes: () => Promise<number | undefined> | number | undefined
  samples: { atMs: number; bytes: number }[]
}

/** Samples the memory of processes until `stop`. */
export class MemoryWatch {
  readonly #watched: Watched[] = []
  readonly #timer: NodeJS.Timeout
  #sampling: Promise<void> = Promise.resolve()

  constructor() {
    this.#timer = setInterval(() => {
      this.#sampling = this.#sampling.then(() => this.#sample())
    }, EVERY_MS)
  }

  /** Watches what a process has; ends by itself when it is gone. */
  process(name: string, pid: number): void {
    this.#watched.push({ name, bytes: () => residentBytes(pid), samples: [] })
  }

  /** Watches what somebody tells; undefined while they do not. */
  told(name: string, bytes: () => Promise<number | undefined>): void {
    this.#watched.push({ name, bytes, samples: [] })
  }

  async stop(): Promise<MemoryUse[]> {
    clearInterval(this.#timer)
    await this.#sampling
    return this.#watched.filter(({ samples }) => samples.length > 0).map(useOf)
  }

  async #sample(): Promise<void> {
    const atMs = performance.now()
    for (const { bytes, samples } of this.#watched) {
      const now = await bytes()
      if (now !== undefined) samples.push({ atMs, bytes: now })
    }
  }
}

function useOf({ name, samples }: Watched): MemoryUse {
  const [startMs, endMs] = [samples[0]?.atMs ?? 0, samples.at(-1)?.atMs ?? 0]
  const between = (fromMs: number, toMs: number): number =>
    median(samples.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs).map(({ bytes }) => bytes))
  const isLong = endMs - startMs >= FROM_MS + 3 * SPAN_MS
  return {
    name,
    lifeMs: endMs - startMs,
    mostBytes: Math.max(...samples.map(({ bytes }) => bytes)),
    grownBytes: isLong
      ? between(endMs - SPAN_MS, endMs) - between(startMs + FROM_MS, startMs + FROM_MS + SPAN_MS)
      : undefined,
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0
}

const PAGE_BYTES = 4_096

/** Resident memory of a process; undefined if it is gone. */
function residentBytes(pid: number): number | undefined {
  if (process.platform !== 'linux') {
    const { stdout } = spawnSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })
    return Number(stdout.trim()) * 1_024 || undefined
  }
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE_BYTES || undefined
  } catch {
    return undefined
  }
}
