/** A line of a file, or what is wrong with it. */
export type Line = { number: number; text: string } | { number: number; problem: string }

const NEWLINE = 10

/**
 * The lines of a stream of bytes, numbered from 1, empty ones left out. A line over `maxBytes` is not held in memory, it becomes a
 * problem, as one that is not UTF-8 does.
 */
export async function* linesOf(bytes: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let parts: Uint8Array[] = []
  let size = 0
  let number = 0
  const take = (): Line | undefined => {
    number += 1
    const length = size
    const bytes = length > maxBytes ? undefined : Buffer.concat(parts)
    parts = []
    size = 0
    if (bytes === undefined) return { number, problem: `is longer than ${maxBytes} bytes` }
    try {
      // The decoder drops a byte order mark.
      const text = decoder.decode(bytes)
      return text.trim() === '' ? undefined : { number, text }
    } catch {
      return { number, problem: 'is not UTF-8' }
    }
  }
  for await (const chunk of bytes) {
    let from = 0
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      if (size <= maxBytes) parts.push(chunk.subarray(from, at))
      size += at - from
      from = at + 1
      const line = take()
      if (line !== undefined) yield line
    }
    if (size <= maxBytes) parts.push(chunk.subarray(from))
    size += chunk.length - from
  }
  if (size > 0) {
    const line = take()
    if (line !== undefined) yield line
  }
}
