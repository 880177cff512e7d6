// A process that starts servers and then hangs; with `pause` it freezes one of them, with `exit` it ends without stopping them.
import { startPostgres, startRedis } from '@stepwell/testkit'

const wishes = process.argv.slice(2)
const [redis, postgres] = await Promise.all([startRedis(), startPostgres()])
if (wishes.includes('pause')) postgres.pause()
console.log(JSON.stringify({ ports: [redis.port, postgres.port] }))
if (wishes.includes('exit')) process.exit(0)
setInterval(() => {}, 60_000)
