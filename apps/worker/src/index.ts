export type { RedisConfig } from './connections.ts'
export { createWorker, type StepwellWorker, type WorkerOptions } from './create-worker.ts'
