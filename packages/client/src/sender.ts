import { FRAME_MAX_BYTES, newProducerId, shardOf } from '@stepwell/protocol'
import { perfMs } from './clock.ts'
import type { Counters, DropReason } from './counters.ts'
import { FrameOfBytes } from './frame-of-bytes.ts'
import type { OpenTrace } from './open-trace.ts'
import type { Settings } from './options.ts'
import type { Episode } from './report.ts'
import type { OutgoingFrame, Sink } from './sink.ts'
import { type Cut, FRAME_MAX_EVENTS, Waiting } from './waiting.ts'
import { WrittenDeltas } from './written-deltas.ts'

/** Frames on their way at once: what a slow answer costs, and what is held besides the buffer. */
const WINDOW = 16
/** Steps may fill this share of the buffer; the rest is for starts and ends, so that a run survives without its steps. */
const STEP_SHARE = 3 / 4

const SIGN_OF_LIFE = { deltas: 0, events: 0, recordedPerfMs: Number.POSITIVE_INFINITY }

/**
 * Cuts what waits into frames and sees them through. An event waits (in its trace) → is in a frame, which has its number
 * from then on and never changes → is on its way → acked; or, when it fails, the same frame again, after a while.
 * Nothing is cut while the sink is not ready or the window is full: then what waits goes on being joined.
 */
export class Sender {
  readonly producer = newProducerId()
  readonly #sink: Sink
  readonly #settings: Settings
  readonly #counters: Counters
  readonly #episode: Episode
  /** By shard. */
  readonly #waiting: Waiting[]
  readonly #onTheWay = new Set<OutgoingFrame>()
  /** When the oldest event in a frame was recorded, by the monotonic clock. */
  readonly #recordedPerfMs = new WeakMap<OutgoingFrame, number>()
  #again: OutgoingFrame[] = []
  /** Those that failed before and are not acked yet. */
  readonly #failed = new Set<OutgoingFrame>()
  /** When all frames up to this number are acked, trouble is over. */
  #lastOfTrouble: number | undefined
  /** Of `#again` those that were put back: they take room. */
  readonly #putBack = new Set<OutgoingFrame>()
  /** Traces with news of which it is not known yet which they are. */
  readonly #unresolved = new Set<OpenTrace>()
  #bytes = 0
  #frameNumber = 0
  #lastSentPerfMs: number[]
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined
  #backoff: NodeJS.Timeout | undefined
  #failures = 0
  #flushes = new Set<() => void>()
  #isClosed = false
  /** What waits goes now or never. */
  #isEnding = false
  /** Called when the buffer is half full and the sink is away, or refuses frames. */
  onPressure: (() => void) | undefined

  constructor(sink: Sink, settings: Settings, counters: Counters, episode: Episode) {
    this.#sink = sink
    this.#settings = settings
    this.#counters = counters
    this.#episode = episode
    this.#waiting = Array.from({ length: settings.shards }, () => new Waiting())
    this.#lastSentPerfMs = this.#waiting.map(() => 0)
    sink.onReady(() => this.#retryNow())
  }

  /** Whether the buffer takes this much more: of a step, or of an edge, a start or an end. */
  hasRoom(bytes: number, kind: 'step' | 'edge'): boolean {
    const { bufferMaxBytes } = this.#settings
    return this.#bytes + bytes <= (kind === 'step' ? bufferMaxBytes * STEP_SHARE : bufferMaxBytes)
  }

  /** How much more the buffer takes; less than 0 when ends have gone over it. */
  get roomBytes(): number {
    return this.#settings.bufferMaxBytes - this.#bytes
  }

  /** Why there is no room. */
  get fullReason(): 'buffer_full' | 'backlog' {
    return this.#isBackedUp ? 'backlog' : 'buffer_full'
  }

  drop(reason: DropReason, events: number): void {
    this.#counters.drop(reason, events)
    this.#episode.dropped(reason, events)
  }

  /** Counts what belongs to a trace that is lost already: no trouble of its own. */
  dropRest(reason: DropReason): void {
    this.#counters.drop(reason, 1)
    this.#episode.lost(reason, 1)
  }

  /** The trace has news: `bytes` more of them, counted in `trace.bytes` already, since `sincePerfMs`, or now. */
  noteNews(trace: OpenTrace, bytes: number, sincePerfMs?: number): void {
    this.#bytes += bytes
    if (
      this.onPressure !== undefined &&
      this.#bytes > this.#settings.bufferMaxBytes / 2 &&
      (this.#isBackedUp || !this.#sink.isReady() || this.#episode.isOn)
    )
      this.onPressure()
    if (!trace.isResolved) {
      trace.dirtySincePerfMs ??= perfMs()
      this.#unresolved.add(trace)
      return
    }
    // What it waited with is queued now; the flush that waits for it goes by when that was recorded.
    if (this.#unresolved.size > 0 && this.#unresolved.delete(trace)) {
      this.#waitingOf(trace).addOpen(trace)
      this.#soon()
      this.#tickLater(this.#settings.flushIntervalMs)
    }
    if (trace.dirtySincePerfMs === undefined) {
      trace.dirtySincePerfMs = sincePerfMs ?? perfMs()
      const waiting = this.#waitingOf(trace)
      // A step may still complete after the end of its trace.
      if (trace.end === undefined) waiting.addOpen(trace)
      else waiting.addEnded(trace)
      this.#tickLater(this.#settings.flushIntervalMs)
    }
    // A busy trace need not wait: it will not travel whole anyway.
    if (trace.bytes > FRAME_MAX_BYTES / 2) this.#soon()
  }

  /** The trace has ended: it goes as soon as there is enough for a frame, or when the time is up. */
  noteEnd(trace: OpenTrace, bytes: number): void {
    this.#bytes += bytes
    const waiting = this.#waitingOf(trace)
    trace.dirtySincePerfMs ??= perfMs()
    waiting.addEnded(trace)
    if (waiting.endedEvents >= FRAME_MAX_EVENTS) this.#soon()
    else this.#tickLater(this.#settings.flushIntervalMs)
  }

  /** What waits of this trace will not be sent. */
  forget(trace: OpenTrace): void {
    this.#bytes -= trace.bytes
    trace.bytes = 0
    trace.events = 0
    this.#unresolved.delete(trace)
    for (const check of this.#flushes) check()
  }

  /** Whether anything waits or is on its way. */
  get hasNews(): boolean {
    return !this.#isDone(Number.POSITIVE_INFINITY)
  }

  /** A sign of life on every shard that heard nothing for a while. */
  beat(): void {
    const before = perfMs() - this.#settings.heartbeatIntervalMs * 0.9
    for (const [shard, lastMs] of this.#lastSentPerfMs.entries()) {
      if (lastMs > before || !this.#canSend()) continue
      this.#dispatch(this.#makeFrame(shard, SIGN_OF_LIFE, new WrittenDeltas((out) => out.json('[]'))))
    }
  }

  /**
   * Sends all that was recorded before now; resolves true when the sink has it, false when the time is up. Keeps an idle
   * process alive meanwhile. `isLast`: also what would wait because workers are behind; there is no later.
   */
  async flush(timeoutMs: number, isLast = false): Promise<boolean> {
    const markMs = perfMs()
    if (this.#isDone(markMs)) return true
    this.#sink.hold()
    if (isLast) this.#isEnding = true
    try {
      return await new Promise<boolean>((resolve) => {
        const finish = (done: boolean): void => {
          clearTimeout(timer)
          this.#flushes.delete(check)
          resolve(done)
        }
        const timer = setTimeout(() => finish(false), timeoutMs)
        const check = (): void => {
          if (this.#isDone(markMs)) finish(true)
        }
        this.#flushes.add(check)
        this.#retryNow()
      })
    } finally {
      this.#isEnding = false
      this.#sink.release()
    }
  }

  /**
   * Gives up what waits, as frames in the order of their numbers; with `onTheWay` also what is not acked yet. They count as
   * buffered until the caller says what became of them.
   */
  takeAll(options: { onTheWay: boolean }): OutgoingFrame[] {
    const frames: OutgoingFrame[] = options.onTheWay ? [...this.#onTheWay] : []
    if (options.onTheWay) this.#onTheWay.clear()
    for (let frame = this.#nextAgain(); frame !== undefined; frame = this.#nextAgain()) frames.push(frame)
    for (const frame of frames) this.#failed.delete(frame)
    for (let shard = 0; shard < this.#waiting.length; ) {
      const frame = this.#cut(shard, Number.POSITIVE_INFINITY)
      if (frame === undefined) shard += 1
      else frames.push(frame)
    }
    for (const check of this.#flushes) check()
    return frames.sort((a, b) => a.number - b.number)
  }

  /** Takes back what `takeAll` gave: it waits again. */
  putBack(frames: readonly OutgoingFrame[]): void {
    for (const frame of frames) {
      this.#putBack.add(frame)
      this.#bytes += frame.deltas.length
    }
    this.#again = [...this.#again, ...frames].sort((a, b) => a.number - b.number)
    this.#soon()
  }

  #nextAgain(): OutgoingFrame | undefined {
    const frame = this.#again.shift()
    if (frame !== undefined && this.#putBack.delete(frame)) this.#bytes -= frame.deltas.length
    return frame
  }

  /** Stops; what is not acked by now is lost. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    clearTimeout(this.#backoff)
    clearImmediate(this.#immediate)
  }

  /** Whether everything that waited or was on its way at `markMs` has arrived. */
  #isDone(markMs: number): boolean {
    for (const trace of this.#unresolved) if ((trace.dirtySincePerfMs ?? 0) <= markMs) return false
    const isOlder = (frame: OutgoingFrame): boolean => (this.#recordedPerfMs.get(frame) ?? 0) <= markMs
    if (this.#again.some(isOlder) || [...this.#onTheWay].some(isOlder)) return false
    return !this.#waiting.some((waiting) => waiting.hasSince(markMs))
  }

  #waitingOf(trace: OpenTrace): Waiting {
    return this.#waiting[shardOf(trace.traceId, this.#waiting.length)] as Waiting
  }

  #tickLater(ms: number): void {
    this.#timer ??= setTimeout(() => this.#tick(), ms).unref()
  }

  #tick(): void {
    this.#timer = undefined
    const { flushIntervalMs } = this.#settings
    const nowMs = perfMs()
    this.#pump(nowMs - flushIntervalMs / 2)
    const oldestMs = Math.min(
      ...this.#waiting.map((waiting) => waiting.oldestPerfMs ?? Number.POSITIVE_INFINITY),
    )
    // Nothing waits for longer than an interval: that is what a killed process loses.
    if (oldestMs !== Number.POSITIVE_INFINITY)
      this.#tickLater(Math.max(flushIntervalMs / 2, oldestMs + flushIntervalMs - nowMs))
  }

  #soon(): void {
    this.#immediate ??= setImmediate(() => {
      this.#immediate = undefined
      this.#pump(perfMs() - this.#settings.flushIntervalMs)
    }).unref()
  }

  #retryNow(): void {
    clearTimeout(this.#backoff)
    this.#backoff = undefined
    this.#pump(perfMs() - this.#settings.flushIntervalMs)
  }

  get #isBackedUp(): boolean {
    return this.#sink.isBackedUp?.() ?? false
  }

  #canSend(): boolean {
    return (
      !this.#isClosed && this.#backoff === undefined && this.#onTheWay.size < WINDOW && this.#sink.isReady()
    )
  }

  /** Sends ended traces, and open ones whose news are older than `openBeforePerfMs`. */
  #pump(openBeforePerfMs: number): void {
    if (!this.#canSend()) return
    if (this.#sink.together === undefined) this.#sendWaiting(openBeforePerfMs)
    else this.#sink.together(() => this.#sendWaiting(openBeforePerfMs))
  }

  #sendWaiting(openBeforePerfMs: number): void {
    const before = this.#flushes.size > 0 ? Number.POSITIVE_INFINITY : openBeforePerfMs
    for (let shard = 0; shard < this.#waiting.length; ) {
      if (!this.#canSend() || (this.#isBackedUp && !this.#isEnding)) return
      const frame = this.#nextAgain() ?? this.#cut(shard, before)
      if (frame === undefined) shard += 1
      else this.#dispatch(frame)
    }
  }

  #cut(shard: number, openBeforePerfMs: number): OutgoingFrame | undefined {
    const taken = this.#waiting[shard]?.cut(openBeforePerfMs)
    if (taken === undefined) return undefined
    const { cut, written } = taken
    this.#bytes -= cut.freedBytes
    for (const { isOwner, executionId, traceId } of cut.begun)
      if (isOwner && executionId !== undefined) this.#sink.correlate(executionId, traceId)
    return this.#makeFrame(shard, cut, written)
  }

  #makeFrame(
    shard: number,
    { deltas: deltaCount, events, recordedPerfMs }: Omit<Cut, 'begun' | 'freedBytes'>,
    written: WrittenDeltas,
  ): OutgoingFrame {
    this.#frameNumber += 1
    const { emitted, sent, dropped } = this.#counters.snapshot()
    const counters = { emitted, acked: sent, dropped: dropped as Record<string, number> }
    const { producer } = this
    const number = this.#frameNumber
    const frame = new FrameOfBytes(written, { producer, number, shard, deltaCount, counters, events })
    this.#recordedPerfMs.set(frame, recordedPerfMs)
    return frame
  }

  #dispatch(frame: OutgoingFrame): void {
    this.#onTheWay.add(frame)
    this.#lastSentPerfMs[frame.shard] = perfMs()
    this.#sink.send(frame).then(
      () => this.#arrived(frame),
      (error: unknown) => this.#sendAgain(frame, error),
    )
  }

  #arrived(frame: OutgoingFrame): void {
    if (!this.#onTheWay.delete(frame) || this.#isClosed) return
    if (this.#sink.letsGo && frame instanceof FrameOfBytes) frame.written.free()
    this.#counters.sent += frame.events
    this.#failures = 0
    this.#failed.delete(frame)
    if (this.#episode.isOn && this.#isCalm()) this.#episode.end()
    this.#pump(perfMs() - this.#settings.flushIntervalMs)
    for (const check of this.#flushes) check()
  }

  /** A full Redis takes one frame and refuses the next: it is over when all that failed and all that was on the way with it went. */
  #isCalm(): boolean {
    if (this.#failed.size > 0 || this.#bytes > this.#settings.bufferMaxBytes / 2) return false
    this.#lastOfTrouble ??= this.#frameNumber
    for (const { number } of this.#onTheWay) if (number <= this.#lastOfTrouble) return false
    return true
  }

  #sendAgain(frame: OutgoingFrame, error: unknown): void {
    if (!this.#onTheWay.delete(frame) || this.#isClosed) return
    this.#failed.add(frame)
    this.#lastOfTrouble = undefined
    // In the order of their numbers, as they were sent.
    const at = this.#again.findIndex((other) => other.number > frame.number)
    this.#again.splice(at < 0 ? this.#again.length : at, 0, frame)
    this.#episode.sendFailed(error)
    if (this.#backoff !== undefined) return
    const ceilingMs = Math.min(5_000, 50 * 2 ** Math.min(this.#failures++, 10))
    this.#backoff = setTimeout(() => this.#retryNow(), ceilingMs * (0.5 + Math.random() / 2)).unref()
  }
}
