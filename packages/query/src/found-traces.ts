import type { TraceSummary } from '@stepwell/protocol'

/** A page of traces, newest first. */
export interface TracePage {
  traces: TraceSummary[]
  /** Gives the next page, of older traces; absent on the last one. */
  nextCursor?: string
  /** Gives the page before, of newer traces, those that arrived meanwhile among them. Absent where there are none, and on the first page asked for. */
  previousCursor?: string
}

/**
 * Traces to come: `await` gives the first page, `for await` all of them, page by page, each asked for when it is needed. Nothing
 * is asked before, so one that nobody waits for costs nothing and fails nobody; each `await` and each loop asks anew.
 */
export class FoundTraces implements PromiseLike<TracePage>, AsyncIterable<TraceSummary> {
  readonly #page: (cursor: string | undefined) => Promise<TracePage>

  /** `page` gives the page at a cursor; undefined: the first. */
  constructor(page: (cursor: string | undefined) => Promise<TracePage>) {
    this.#page = page
  }

  /** The first page. */
  // biome-ignore lint/suspicious/noThenProperty: to be awaited is what it is for.
  then<A = TracePage, B = never>(
    onFulfilled?: ((page: TracePage) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#page(undefined).then(onFulfilled, onRejected)
  }

  /** The traces of the first page and of all that follow. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TraceSummary, void> {
    let cursor: string | undefined
    do {
      const page = await this.#page(cursor)
      yield* page.traces
      cursor = page.nextCursor
    } while (cursor !== undefined)
  }
}
