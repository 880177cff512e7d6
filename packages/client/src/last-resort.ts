import type { Counters } from './counters.ts'
import type { Settings } from './options.ts'
import type { Sender } from './sender.ts'
import type { OutgoingFrame, Sink } from './sink.ts'
import { Spool } from './spool.ts'

/**
 * What a tracer does with what it cannot send: into the spool with it, if there is one. While Redis is away and memory fills; when
 * the process exits; and when a close has run out of time.
 */
export class LastResort {
  readonly #sender: Sender
  readonly #counters: Counters
  readonly #spool: Spool
  readonly #onExit = (): void => this.saveNow()

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
    this.#sender.onPressure = () => this.#spill()
    // Comes with process.exit() and with uncaught exceptions too; nothing may take time in it.
    process.on('exit', this.#onExit)
  }

  /** Writes what is not acked, at once. */
  saveNow(): void {
    const frames = this.#sender.takeAll({ onTheWay: true })
    if (frames.length > 0 || this.#spool.isWriting) this.#count(frames, this.#spool.writeNow(frames))
  }

  /** Resolves when files of earlier processes that are being sent are sent, or the time is up. */
  async settled(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs)
    })
    await Promise.race([this.#spool.settled(), late])
    clearTimeout(timer)
  }

  close(): void {
    process.off('exit', this.#onExit)
    this.#sender.onPressure = undefined
    this.#spool.close()
  }

  #spill(): void {
    if (this.#spool.isWriting) return
    const frames = this.#sender.takeAll({ onTheWay: false })
    if (frames.length > 0) void this.#spool.write(frames).then((rest) => this.#count(frames, rest))
  }

  #count(frames: readonly OutgoingFrame[], rest: readonly OutgoingFrame[]): void {
    const eventsOf = (some: readonly OutgoingFrame[]): number =>
      some.reduce((sum, frame) => sum + frame.events, 0)
    const lost = Math.min(eventsOf(frames), eventsOf(rest))
    this.#counters.spooled = (this.#counters.spooled ?? 0) + eventsOf(frames) - lost
    if (lost > 0) this.#sender.drop('spool_full', lost)
  }
}
