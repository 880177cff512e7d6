/** The members of a reply that names them (XINFO, CONFIG GET): a flat list under RESP2, a map under RESP3 (https://redis.io/docs/latest/develop/reference/protocol-spec/). */
export function replyFields(reply: unknown): Map<string, unknown> {
  if (!Array.isArray(reply)) return new Map(Object.entries(reply as object))
  const fields = new Map<string, unknown>()
  for (let i = 0; i + 1 < reply.length; i += 2) fields.set(String(reply[i]), reply[i + 1])
  return fields
}
