import { encodeObject, METADATA_MAX_LENGTH, type Redactor } from '@stepwell/protocol'

/** The JSON text of a trace's metadata as it begins, with the service unless it names one itself; '{}' for none. */
export function metadataText({
  metadata,
  service,
  redactor,
}: {
  metadata: unknown
  service: string | undefined
  redactor: Redactor | undefined
}): string {
  if (service === undefined) return encodeObject(metadata, METADATA_MAX_LENGTH, redactor)
  const own = encodeObject({ service })
  // Encoded first: spread, a Map would be empty, a list an object, and a getter could throw.
  const text = encodeObject(metadata, Math.max(0, METADATA_MAX_LENGTH - own.length), redactor)
  if (text === '{}') return own
  // It may name one itself: that is then the only one.
  if (text.includes('"service":')) return JSON.stringify({ service, ...JSON.parse(text) })
  return `${own.slice(0, -1)},${text.slice(1)}`
}
