// One purge by the plug-in of a CMS: purge.mjs NODE_MODULES LIBRARY HOST KEY WHAT VALUE
import { pathToFileURL } from 'node:url'

const [modules, , host, key, , url] = process.argv.slice(2)
const dist = pathToFileURL(`${modules}/@seshuk/payload-storage-bunny/dist/`)
const { BUNNY_API } = await import(new URL('utils/constants.js', dist))
const { purgeCache } = await import(new URL('utils/client/cache.js', dist))

BUNNY_API.BASE_URL = host
try {
  await purgeCache({ purgeConfig: { apiKey: key, async: false }, url })
} catch (error) {
  console.log(error.message)
  process.exitCode = 1
}
