// The page of somebody who uses web-vitals and nothing else: its callbacks, and ten lines of their own.
import { onCLS, onFCP, onINP, onLCP, onTTFB } from 'web-vitals'
import { session, shop } from './page.js'

shop(({ collector, query }) => {
  let events = []
  let flushes = 0
  const push = (event) => events.push({ ts: Date.now(), page: location.pathname, ...event })
  const flush = () => {
    if (!events.length) return
    const body = JSON.stringify({ app: 'vitals-shop', release: '1.4.0', environment: 'production', session: session('vitals'), sent_at: Date.now(), events })
    events = []
    // In turn as a text, which needs no permission, and as JSON, for which the browser asks first.
    const kind = flushes++ % 2 ? new Blob([body], { type: 'application/json' }) : body
    navigator.sendBeacon(`${collector}/v1/rum${query}`, kind)
  }
  const vital = ({ name, value, id, navigationType }) => push({ kind: 'web_vital', name, value, id, nav: navigationType })
  for (const on of [onCLS, onFCP, onINP, onLCP, onTTFB]) on(vital)
  // One session, however often it is said.
  push({ kind: 'session' })
  push({ kind: 'page_view', nav: 'hard' })
  addEventListener('error', ({ error }) => push({ kind: 'js_error', type: error.name, message: error.message, stack: error.stack }))
  addEventListener('unhandledrejection', ({ reason }) => push({ kind: 'js_error', type: reason.name, message: reason.message, stack: reason.stack }))
  const pushState = history.pushState
  history.pushState = function (...args) {
    pushState.apply(this, args)
    push({ kind: 'page_view', nav: 'soft' })
  }
  const plain = window.fetch
  window.fetch = async (url) => {
    const began = performance.now()
    const done = (status) => push({ kind: 'request', host: location.host, path: url, method: 'GET', status, value: performance.now() - began })
    try {
      const answer = await plain(url)
      done(answer.status)
      return answer
    } catch (error) {
      done(0)
      throw error
    }
  }
  setInterval(flush, 1000)
  addEventListener('visibilitychange', flush)
  addEventListener('pagehide', flush)
})
