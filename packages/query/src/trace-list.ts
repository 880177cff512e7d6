import type { TraceSummary } from '@stepwell/protocol'

/** One page of traces, newest first. */
export interface TracePage {
  traces: TraceSummary[]
  /** Give it as `cursor` for the next page. Absent on the last one. */
  nextCursor?: string
}

/**
 * Traces to come. `await` it for one page, or iterate over all of them with `for await`: pages are then fetched as they
 * are needed, one at a time, and breaking off is free. Nothing is asked before; each `await` and each loop asks anew.
 */
export class TraceList implements PromiseLike<TracePage>, AsyncIterable<TraceSummary> {
  readonly #load: (cursor: string | undefined) => Promise<TracePage>

  /** `load` gives the page at a cursor; undefined: the first one. */
  constructor(load: (cursor: string | undefined) => Promise<TracePage>) {
    this.#load = load
  }

  /** The page, for `await`. */
  // biome-ignore lint/suspicious/noThenProperty: to be awaited is what it is for
  then<A = TracePage, B = never>(
    onFulfilled?: ((page: TracePage) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#load(undefined).then(onFulfilled, onRejected)
  }

  /** All traces from here on, page after page. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TraceSummary, void, undefined> {
    let cursor: string | undefined
    do {
      const page = await this.#load(cursor)
      yield* page.traces
      cursor = page.nextCursor
    } while (cursor !== undefined)
  }
}
