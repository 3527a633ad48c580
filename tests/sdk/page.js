// What every page of the shop does, whichever SDK watches it, and the truth about that: told to the shop's own
// server, which the SDK under test knows nothing of.

const [, sdk, kind, number] = location.pathname.split('/')

/** Tells the truth. A beacon, because it has to survive the page and no SDK takes it for a request of the shop's. */
function did(what, bad = false) {
  navigator.sendBeacon('/truth', JSON.stringify({ sdk, what, bad }))
}

/** A number of this page life that a session outlives; a new visitor starts with nothing. */
export function session(prefix) {
  let id = sessionStorage.getItem('shop-session')
  if (!id) {
    id = `${prefix}-${crypto.randomUUID()}`
    sessionStorage.setItem('shop-session', id)
  }
  return id
}

async function request(path, bad) {
  did('request', bad)
  try {
    await (await fetch(`/api/${path}?token=do-not-keep-${number}`)).text()
  } catch {
    // A dropped connection is what was asked for.
  }
}

/**
 * As long as an SDK needs to put requests where the end of the page cannot lose them: OpenTelemetry and Sentry end the span of a
 * request 300 ms after the answer, Faro batches spans for a second, and what is not through that when the page goes they never send.
 */
function requestsAreTold() {
  return new Promise((resolve) => setTimeout(resolve, sdk === 'faro' ? 1500 : 500))
}

function later(what) {
  return new Promise((resolve) => setTimeout(() => { resolve(); what() }))
}

/** Everything that can go wrong in a checkout, then a navigation without a page load. */
async function checkout() {
  await request('ok', false)
  await request('fail', true)
  await request('drop', true)
  did('js_error')
  await later(() => { throw new TypeError(`checkout ${number} exploded`) })
  did('js_error')
  await later(() => { Promise.reject(new Error(`payment ${number} rejected`)) })
  await new Promise((resolve) => setTimeout(resolve, 300))
  did('soft')
  history.pushState({}, '', `/${sdk}/confirmation/${number}`)
  document.querySelector('h1').textContent = `Thank you for order ${number}`
  await request('ok', false)
  await requestsAreTold()
}

/** A request and, a while later, an error, with which the visitor is gone before any timer of an SDK has run. */
async function product() {
  await request('ok', false)
  await requestsAreTold()
  did('js_error')
  await later(() => { throw new RangeError(`product ${number} is sold out`) })
}

/** Starts the SDK, then the page. `?new` is a visitor who was never here; to Sentry everyone is, on each page load. */
export function shop(start) {
  if (location.search === '?new') sessionStorage.clear()
  start({ collector: window.collector, query: window.query })
  did('hard')
  if (sdk === 'sentry' || location.search === '?new') did('session')
  new PerformanceObserver(() => {
    if (!window.painted) did('lcp')
    window.painted = true
  }).observe({ type: 'largest-contentful-paint', buffered: true })
  addEventListener('DOMContentLoaded', () => {
    document.querySelector('button').addEventListener('click', async () => {
      await (kind === 'checkout' ? checkout() : product())
      window.finished = true
    })
  })
}
