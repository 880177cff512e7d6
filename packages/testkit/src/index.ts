export { type Certificate, makeCertificate } from './certificate.ts'
export {
  copyTemplate,
  createTemplate,
  type DatabaseTemplate,
  dropDatabases,
  type Migrate,
  type TestDatabase,
} from './create-database.ts'
export { type FaultProxy, faultProxy } from './fault-proxy.ts'
export { freePort } from './free-port.ts'
export { leaseRedisDatabase } from './lease-redis-database.ts'
export { node22 } from './node-22.ts'
export { caughtUp, startPostgresReplica } from './postgres-replica.ts'
export { type PostgresOptions, startPostgres } from './postgres-server.ts'
export { type ClusterNode, type RedisCluster, replicated, startRedisCluster } from './redis-cluster.ts'
export { startWatchedRedis, type WatchedRedis } from './redis-sentinel.ts'
export { type RedisOptions, startRedis } from './redis-server.ts'
export { sweepLeftovers } from './server-folder.ts'
export type { PrivateServer, Service } from './service.ts'
export { type ProcessEnd, type SpawnedProcess, spawnProcess } from './spawn-process.ts'
export { type Services, type ServicesOptions, startServices } from './start-services.ts'
export { type TransactionPooler, transactionPooler } from './transaction-pooler.ts'
export { type Truthy, type WaitOptions, waitFor } from './wait-for.ts'
