"""What writes a training store: conversion, appending, repair, monthly means."""
