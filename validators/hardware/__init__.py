"""This machine: `graphics_cards` finds cards and locks them, `vulkan` its adapters, `chromium` the browser."""
