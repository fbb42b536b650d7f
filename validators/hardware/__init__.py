"""Describes this machine: `graphics_cards` finds and locks cards, `vulkan` finds adapters, `chromium` the browser."""
