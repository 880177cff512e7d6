import { InvalidInputError } from '@stepwell/protocol'
import { explain } from '@stepwell/protocol/schema'
import type * as z from 'zod'

/** The value as the schema reads it; throws InvalidInputError that begins with `call` and says what to change. */
export function validate<T>(call: string, schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw new InvalidInputError(`${call}: ${explain(result.error)}`, { cause: result.error })
}
