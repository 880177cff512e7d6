import { Command } from 'ioredis'
import type { WrittenDeltas } from './written-deltas.ts'

/**
 * An XADD whose last value is the deltas of a frame. Written by the library they are put together as a text that outlives the young
 * generation, or copied once more as bytes: here the rest of the command (https://redis.io/docs/latest/develop/reference/protocol-spec)
 * is written around them where they are.
 */
export class Xadd extends Command {
  readonly #deltas: WrittenDeltas
  #written: Buffer | undefined

  constructor(
    stream: string,
    fields: readonly string[],
    deltas: WrittenDeltas,
    keyPrefix: string | undefined,
  ) {
    super('xadd', [stream, '*', ...fields], keyPrefix === undefined ? {} : { keyPrefix })
    this.#deltas = deltas
  }

  /** For the library. Asked again, when a cluster sends it elsewhere, it is the same. */
  override toWritable(): Buffer {
    this.#written ??= this.#deltas.after(this.#head())
    return this.#written
  }

  #head(): string {
    const args = this.args as string[]
    let head = `*${args.length + 2}\r\n$4\r\nxadd\r\n`
    for (const arg of args) head += `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`
    return `${head}$${this.#deltas.length}\r\n`
  }
}
