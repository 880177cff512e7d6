import { readFileSync } from 'node:fs'

const dockerfile = readFileSync(new URL('../../Dockerfile', import.meta.url), 'utf8')

/** What the image gives to Node: tests that measure a worker's memory measure it as it is deployed. */
export const [, IMAGE_NODE_OPTIONS = ''] = /^ENV NODE_OPTIONS="(.+)"$/m.exec(dockerfile) ?? []
