// Takes what the OTLP exporters send, as a collector on the same machine would, and counts the spans of each encoding.
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '../contender.ts'

const SPAN_NAME = /"spanId":/g
const spans = { json: 0, protobuf: 0 }

const server = createServer(async (request, response) => {
  const encoding = request.url?.endsWith('/json') ? 'json' : 'protobuf'
  if (request.method === 'GET') {
    response.end(JSON.stringify({ spans: spans[encoding] }))
    return
  }
  const body = await readBody(request)
  spans[encoding] += encoding === 'json' ? countMatches(body.toString('latin1')) : countSpans(body)
  response.writeHead(200, { 'content-type': String(request.headers['content-type']) })
  response.end(encoding === 'json' ? '{}' : '')
}).listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  serve(async () => `http://127.0.0.1:${port}`)
})

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

const countMatches = (text: string): number => text.match(SPAN_NAME)?.length ?? 0

/** Spans in an ExportTraceServiceRequest: field 1 (resource spans) → field 2 (scope spans) → field 2 (spans). */
function countSpans(request: Buffer): number {
  let count = 0
  for (const resource of fieldsOf(request, 1))
    for (const scope of fieldsOf(resource, 2)) count += fieldsOf(scope, 2).length
  return count
}

/** The length-delimited fields of this number in a protobuf message (https://protobuf.dev/programming-guides/encoding). */
function fieldsOf(message: Buffer, wanted: number): Buffer[] {
  const found: Buffer[] = []
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 1; ; shift *= 128) {
      const byte = message[at++] as number
      value += (byte & 127) * shift
      if (byte < 128) return value
    }
  }
  while (at < message.length) {
    const key = varint()
    if ((key & 7) !== 2) throw new Error(`unexpected wire type ${key & 7}`)
    const length = varint()
    if (key >> 3 === wanted) found.push(message.subarray(at, at + length))
    at += length
  }
  return found
}
