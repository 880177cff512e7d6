export { type Database, type DatabaseConfig, openDatabase } from './database.ts'
export { type DeadLetter, PAYLOAD_MAX_LENGTH, writeDeadLetters } from './dead-letters.ts'
export type { TraceInput } from './delta-of-trace.ts'
export { type MigrationReport, migrateToLatest, SchemaTooNewError } from './migrate.ts'
export {
  dropPartitionsBefore,
  ensurePartitions,
  listPartitions,
  MONTHS_AHEAD,
  monthsAround,
} from './partitions.ts'
export type { DeadLettersTable, ExecutionTracesTable, Tables } from './tables.ts'
export { type FinalizedTrace, TraceStorage } from './trace-storage.ts'
export { type TraceDeltas, TraceWriter, WRITE_MAX_TRACES, type Written } from './trace-writer.ts'
export { isMissingPartition, isTransient, sqlState } from './transient-error.ts'
