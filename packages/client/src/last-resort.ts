import type { Counters } from './counters.ts'
import type { Settings } from './options.ts'
import { withinMs } from './redis-sink.ts'
import type { Sender } from './sender.ts'
import type { OutgoingFrame, Sink } from './sink.ts'
import { Spool } from './spool.ts'

/** So long a disk that did not take everything is left alone, longer each time that it took nothing: meanwhile memory fills, and steps go first. */
const PAUSE_MIN_MS = 1_000
const PAUSE_MAX_MS = 60_000

/**
 * What a tracer does with what it cannot send: into the spool with it, if there is one. While Redis is away and memory fills; when
 * the process exits; and when a close has run out of time. What the disk does not take stays in memory for as long as there is a later.
 */
export class LastResort {
  readonly #sender: Sender
  readonly #counters: Counters
  readonly #spool: Spool
  readonly #onExit = (): void => this.#saveNow()
  #spilling: Promise<void> | undefined
  #pauseMs = PAUSE_MIN_MS
  #pausesUntilPerfMs = 0

  constructor(
    options: NonNullable<Settings['spool']>,
    parts: {
      sink: Sink
      sender: Sender
      counters: Counters
      shards: number
      onTrouble: (message: string) => void
    },
  ) {
    this.#sender = parts.sender
    this.#counters = parts.counters
    this.#counters.spooled = 0
    this.#spool = new Spool(options, parts.sink, parts.shards, parts.onTrouble)
    this.#sender.onPressure = () => {
      if (this.#spilling !== undefined || performance.now() < this.#pausesUntilPerfMs) return
      this.#spilling = this.#spill().finally(() => {
        this.#spilling = undefined
      })
    }
    // Comes with process.exit() and with uncaught exceptions too; nothing may take time in it.
    process.on('exit', this.#onExit)
  }

  /**
   * The end of a close. Resolves when what is not acked is written; if there is nothing, when files of earlier processes that are
   * being sent are sent, or the time is up.
   */
  async finish(timeoutMs: number): Promise<void> {
    await this.#spilling
    if (this.#sender.hasNews) this.#saveNow()
    else await withinMs(timeoutMs, this.#spool.settled())
    process.off('exit', this.#onExit)
    this.#sender.onPressure = undefined
    this.#spool.close()
  }

  async #spill(): Promise<void> {
    const frames = this.#sender.takeAll({ onTheWay: false })
    const rest = await this.#spool.write(frames)
    const isTaken = frames.length > rest.length
    this.#pauseMs = isTaken ? PAUSE_MIN_MS : Math.min(PAUSE_MAX_MS, 2 * this.#pauseMs)
    if (!isTaken || rest.length > 0) this.#pausesUntilPerfMs = performance.now() + this.#pauseMs
    this.#counters.spooled = (this.#counters.spooled ?? 0) + eventsOf(frames) - eventsOf(rest)
    this.#sender.putBack(rest)
  }

  /** Writes what is not acked, at once. */
  #saveNow(): void {
    const frames = this.#sender.takeAll({ onTheWay: true })
    if (frames.length === 0 && !this.#spool.isWriting) return
    // At an exit in the middle of a spill its frames are written with the others: nobody reads the counters any more.
    const lost = eventsOf(this.#spool.writeNow(frames))
    this.#counters.spooled = (this.#counters.spooled ?? 0) + Math.max(0, eventsOf(frames) - lost)
    if (lost > 0) this.#sender.drop('spool_full', lost)
  }
}

function eventsOf(frames: readonly OutgoingFrame[]): number {
  return frames.reduce((sum, frame) => sum + frame.events, 0)
}
